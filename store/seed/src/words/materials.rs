//! What things are made of, with one sentence on how it wears: care advice that is true of the
//! material, never a promise about the product.

use super::{Both, b, colours as c};

#[derive(Debug)]
pub(crate) struct Material {
    pub(crate) name: Both,
    pub(crate) care: Both,
    /// The colour it has by nature, for things that are not dyed or painted.
    pub(crate) natural: usize,
}

const fn m(
    en: &'static str,
    fr: &'static str,
    natural: usize,
    care_en: &'static str,
    care_fr: &'static str,
) -> Material {
    Material { name: b(en, fr), care: b(care_en, care_fr), natural }
}

pub(crate) const BRASS: Material = m(
    "spun brass",
    "laiton repoussé",
    c::BRASS,
    "Brass darkens where hands go; leave it, or bring it back with a cloth and a little vinegar.",
    "Le laiton fonce là où passent les mains ; laissez-le vivre ou ravivez-le d’un chiffon et d’un peu de vinaigre.",
);
pub(crate) const COPPER: Material = m(
    "beaten copper",
    "cuivre martelé",
    c::COPPER,
    "Copper goes from bright to chestnut in a year; salt and lemon turn the clock back.",
    "Le cuivre passe du vif au châtaigne en un an ; sel et citron remontent le temps.",
);
pub(crate) const STEEL: Material = m(
    "carbon steel",
    "acier au carbone",
    c::STEEL,
    "Wipe it dry and give it a drop of oil before the winter.",
    "Essuyez-le et donnez-lui une goutte d’huile avant l’hiver.",
);
pub(crate) const ENAMEL: Material = m(
    "enamelled steel",
    "acier émaillé",
    c::FOAM,
    "Enamel washes clean with anything soft; a chip on the rim is a scar, not an ending.",
    "L’émail se lave avec tout ce qui est doux ; un éclat au bord est une cicatrice, pas une fin.",
);
pub(crate) const TIN: Material = m(
    "tinned steel",
    "fer étamé",
    c::STEEL,
    "Keep it dry between uses and it will only dull, never rust in a hurry.",
    "Gardez-le sec entre deux usages : il ternira sans se presser de rouiller.",
);
pub(crate) const STONEWARE: Material = m(
    "stoneware",
    "grès",
    c::SLATE,
    "Stoneware goes in the oven and the dishwasher, and cools slowly.",
    "Le grès va au four et au lave-vaisselle, et refroidit lentement.",
);
pub(crate) const EARTHENWARE: Material = m(
    "glazed earthenware",
    "faïence émaillée",
    c::BRICK,
    "Warm it before you pour; earthenware dislikes surprises.",
    "Tiédissez-la avant de verser ; la faïence n’aime pas les surprises.",
);
pub(crate) const TERRACOTTA: Material = m(
    "terracotta",
    "terre cuite",
    c::BRICK,
    "Terracotta breathes, so water a little more and bring it in before hard frost.",
    "La terre cuite respire : arrosez un peu plus et rentrez-la avant les fortes gelées.",
);
pub(crate) const GLASS: Material = m(
    "thick glass",
    "verre épais",
    c::LAGOON,
    "Wash it warm, dry it upside down.",
    "Lavez-le à l’eau tiède, séchez-le à l’envers.",
);
pub(crate) const OAK: Material = m(
    "oiled oak",
    "chêne huilé",
    c::OAK,
    "A spoon of oil twice a year keeps the oak from going grey.",
    "Une cuillère d’huile deux fois l’an empêche le chêne de griser.",
);
pub(crate) const ASH: Material = m(
    "turned ash",
    "frêne tourné",
    c::OAK,
    "Ash is light and springy; wipe it with a damp cloth, never soak it.",
    "Le frêne est léger et souple ; un linge humide suffit, ne le trempez jamais.",
);
pub(crate) const WALNUT: Material = m(
    "walnut",
    "noyer",
    c::WALNUT,
    "Walnut lightens by a window over the years, evenly if you turn it.",
    "Le noyer s’éclaircit près d’une fenêtre au fil des ans, également si on le tourne.",
);
pub(crate) const WOOL: Material = m(
    "lambswool",
    "laine d’agneau",
    c::FOAM,
    "Air it rather than wash it; when you must, cool water and a flat towel.",
    "Aérez plutôt que de laver ; sinon, eau fraîche et séchage à plat.",
);
pub(crate) const LINEN: Material = m(
    "washed linen",
    "lin lavé",
    c::STRAW,
    "Linen softens with every wash and never needs the iron it is offered.",
    "Le lin s’assouplit à chaque lavage et se passe fort bien du fer.",
);
pub(crate) const COTTON: Material = m(
    "heavy cotton",
    "coton épais",
    c::FOAM,
    "Wash at forty with its own kind, and shake it out before it dries.",
    "Lavez à quarante degrés avec ses semblables et secouez avant de sécher.",
);
pub(crate) const CANVAS: Material = m(
    "waxed canvas",
    "toile cirée",
    c::STRAW,
    "Brush the canvas when dry; re-wax the folds after a few seasons.",
    "Brossez la toile une fois sèche ; recirez les plis après quelques saisons.",
);
pub(crate) const WILLOW: Material = m(
    "white willow",
    "osier blanc",
    c::STRAW,
    "Leave it out in soft rain once a year; willow likes a drink.",
    "Laissez-le une fois l’an sous une pluie douce ; l’osier aime boire.",
);
pub(crate) const HEMP: Material = m(
    "long hemp",
    "chanvre long",
    c::STRAW,
    "Hang it in a loose coil; hemp remembers a bad bend.",
    "Suspendez-le en glène lâche ; le chanvre se souvient d’un mauvais pli.",
);
pub(crate) const PAPER: Material = m(
    "cotton paper",
    "papier de coton",
    c::FOAM,
    "Keep it out of strong sun and it will outlast the ink.",
    "Gardez-le du grand soleil : il survivra à l’encre.",
);
pub(crate) const WAX: Material = m(
    "island beeswax",
    "cire d’abeille des îles",
    c::OCHRE,
    "Trim the wick to a fingernail, and let the first burn reach the edge.",
    "Coupez la mèche à l’ongle et laissez la première flamme gagner le bord.",
);
pub(crate) const LEATHER: Material = m(
    "bridle leather",
    "cuir de bride",
    c::WALNUT,
    "Feed the leather when it looks thirsty, about once a year.",
    "Nourrissez le cuir quand il semble avoir soif, environ une fois l’an.",
);
