//! The islands of Ostrel. Each gives its name to a collection that runs through all departments.

use super::{Both, b};

pub(crate) struct Place {
    pub(crate) name: &'static str,
    pub(crate) line: Both,
}

const fn p(name: &'static str, en: &'static str, fr: &'static str) -> Place {
    Place { name, line: b(en, fr) }
}

pub(crate) const PLACES: [Place; 24] = [
    p(
        "Hesk",
        "Hesk has one road, and everybody on it waves.",
        "Hesk n’a qu’une route, et tout le monde s’y salue.",
    ),
    p(
        "Morna",
        "Morna is where the ferry turns round, so people there learn to wait well.",
        "À Morna, le bac fait demi-tour ; on y apprend à bien attendre.",
    ),
    p(
        "Tolsay",
        "On Tolsay the wind is older than the houses.",
        "À Tolsay, le vent est plus vieux que les maisons.",
    ),
    p(
        "Fennick",
        "Fennick keeps its bees behind the lighthouse, out of the weather.",
        "À Fennick, les ruches sont à l’abri, derrière le phare.",
    ),
    p(
        "Aldra",
        "Aldra is mostly meadow, with a harbour at either end.",
        "Aldra n’est guère qu’une prairie, avec un port à chaque bout.",
    ),
    p(
        "Quill",
        "Quill is named for its gulls, and for the letters it used to send.",
        "Quill doit son nom à ses mouettes, et aux lettres qu’on y écrivait.",
    ),
    p(
        "Sorrel",
        "Sorrel turns red in October, bracken first and then the sky.",
        "Sorrel rougit en octobre : les fougères d’abord, le ciel ensuite.",
    ),
    p(
        "Lisk",
        "Lisk disappears twice a day and is proud of it.",
        "Lisk disparaît deux fois par jour et s’en vante.",
    ),
    p(
        "Brandle",
        "Brandle has the only bakery for eleven miles of water.",
        "Brandle possède la seule boulangerie à onze milles à la ronde.",
    ),
    p("Oss", "Oss is a rock with a garden on it.", "Oss est un rocher avec un jardin dessus."),
    p(
        "Vanna",
        "Vanna faces west, and dines late because of it.",
        "Vanna regarde l’ouest, et dîne tard à cause de cela.",
    ),
    p(
        "Merrow",
        "On Merrow the tide comes in under the schoolroom.",
        "À Merrow, la marée passe sous la salle de classe.",
    ),
    p(
        "Kittle",
        "Kittle has more boats than front doors.",
        "Kittle compte plus de bateaux que de portes.",
    ),
    p(
        "Dunmar",
        "Dunmar cuts its own slate and tells you so.",
        "Dunmar taille sa propre ardoise et ne manque pas de le dire.",
    ),
    p(
        "Pell",
        "Pell is flat enough to see the post coming.",
        "Pell est si plate qu’on y voit arriver le courrier.",
    ),
    p(
        "Arvik",
        "Arvik is the northern one, and the lamps there are lit at three.",
        "Arvik est la plus au nord ; on y allume les lampes à trois heures.",
    ),
    p("Sandry", "Sandry moves a little every winter.", "Sandry se déplace un peu chaque hiver."),
    p(
        "Thole",
        "Thole was named by rowers who were glad to arrive.",
        "Thole fut nommée par des rameurs heureux d’arriver.",
    ),
    p(
        "Ember",
        "Ember has the old kilns, and a few that still smoke.",
        "Ember garde les vieux fours, dont quelques-uns fument encore.",
    ),
    p(
        "Rusk",
        "Rusk is a day out for everyone and home to nine.",
        "Rusk est une sortie pour tous et un foyer pour neuf personnes.",
    ),
    p(
        "Corva",
        "Corva’s crows know the fishing days better than we do.",
        "Les corneilles de Corva connaissent mieux que nous les jours de pêche.",
    ),
    p(
        "Wick",
        "Wick made candles for the whole chain before the cable came.",
        "Wick fournissait toutes les îles en bougies avant l’arrivée du câble.",
    ),
    p(
        "Larrin",
        "Larrin sings on Sundays and mends nets the rest of the week.",
        "Larrin chante le dimanche et ravaude ses filets le reste du temps.",
    ),
    p(
        "Isa",
        "Isa is the smallest we deliver to, and the most punctual.",
        "Isa est la plus petite île que nous livrons, et la plus ponctuelle.",
    ),
];
