//! Departments and categories.

use super::{Both, b};

pub(crate) struct Department {
    pub(crate) path: &'static str,
    pub(crate) name: Both,
    pub(crate) line: Both,
    pub(crate) categories: [Shelf; 4],
}

pub(crate) struct Shelf {
    pub(crate) path: &'static str,
    pub(crate) name: Both,
}

const fn s(path: &'static str, en: &'static str, fr: &'static str) -> Shelf {
    Shelf { path, name: b(en, fr) }
}

pub(crate) const DEPARTMENTS: [Department; 6] = [
    Department {
        path: "instruments",
        name: b("Maps & instruments", "Cartes & instruments"),
        line: b(
            "For knowing where you are, and how long it will stay fine.",
            "Pour savoir où l’on est, et combien de temps le beau temps tiendra.",
        ),
        categories: [
            s("instruments/charts", "Charts & logbooks", "Cartes & carnets"),
            s("instruments/compasses", "Compasses", "Boussoles"),
            s("instruments/optics", "Spyglasses", "Longues-vues"),
            s("instruments/weather", "Weather & time", "Temps & heure"),
        ],
    },
    Department {
        path: "lamps",
        name: b("Lamps", "Lampes"),
        line: b(
            "Evenings are long out here. We take light seriously.",
            "Ici les soirées sont longues. La lumière est une affaire sérieuse.",
        ),
        categories: [
            s("lamps/lanterns", "Lanterns", "Lanternes"),
            s("lamps/table", "Table lamps", "Lampes de table"),
            s("lamps/pendants", "Hanging lamps", "Suspensions"),
            s("lamps/candles", "Candles & holders", "Bougies & bougeoirs"),
        ],
    },
    Department {
        path: "kitchen",
        name: b("Kitchen & tea", "Cuisine & thé"),
        line: b(
            "Everything between the kettle and the last slice.",
            "Tout ce qui va de la bouilloire à la dernière tranche.",
        ),
        categories: [
            s("kitchen/teapots", "Teapots", "Théières"),
            s("kitchen/cups", "Cups & mugs", "Tasses & gobelets"),
            s("kitchen/stove", "Kettles & pans", "Bouilloires & casseroles"),
            s("kitchen/pantry", "Jars & boards", "Bocaux & planches"),
        ],
    },
    Department {
        path: "textiles",
        name: b("Textiles", "Textiles"),
        line: b(
            "Wool, linen and cotton for people who sit by windows.",
            "Laine, lin et coton pour ceux qui s’assoient près des fenêtres.",
        ),
        categories: [
            s("textiles/blankets", "Blankets", "Couvertures"),
            s("textiles/knitwear", "Knitwear", "Tricots"),
            s("textiles/cushions", "Cushions", "Coussins"),
            s("textiles/linen", "Towels & linen", "Serviettes & linge"),
        ],
    },
    Department {
        path: "shore",
        name: b("Garden & shore", "Jardin & rivage"),
        line: b(
            "For the strip of ground between the door and the tide.",
            "Pour la bande de terre entre la porte et la marée.",
        ),
        categories: [
            s("shore/watering", "Watering", "Arrosage"),
            s("shore/planters", "Planters", "Pots & plantes"),
            s("shore/baskets", "Baskets", "Paniers"),
            s("shore/beach", "Beach days", "Jours de plage"),
        ],
    },
    Department {
        path: "workshop",
        name: b("Workshop", "Atelier"),
        line: b(
            "Tools that ask to be used, and then hung back up.",
            "Des outils qui demandent à servir, puis à retrouver leur clou.",
        ),
        categories: [
            s("workshop/knives", "Knives", "Couteaux"),
            s("workshop/rope", "Rope & twine", "Cordes & ficelles"),
            s("workshop/tools", "Hand tools", "Outils à main"),
            s("workshop/bags", "Boxes & bags", "Boîtes & sacs"),
        ],
    },
];
