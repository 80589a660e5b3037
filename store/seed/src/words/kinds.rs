//! The kinds of things the shop sells: one row each, with its drawing, materials, sizes and words.

use super::colours::*;
use super::materials::{self as m, Material};
use super::{Both, b};
use crate::art::Drawing;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gender {
    M,
    F,
}

#[derive(Debug)]
pub(crate) struct Size {
    pub(crate) code: &'static str,
    pub(crate) name: Both,
    /// In per cent of the kind's own price and weight.
    pub(crate) price_pct: i64,
    pub(crate) weight_pct: u32,
}

#[derive(Debug)]
pub(crate) struct Kind {
    pub(crate) code: &'static str,
    pub(crate) slug: &'static str,
    pub(crate) gender: Gender,
    pub(crate) category: &'static str,
    pub(crate) drawing: Drawing,
    pub(crate) materials: &'static [&'static Material],
    /// Empty: the thing keeps the colour of its material.
    pub(crate) colours: &'static [usize],
    pub(crate) sizes: &'static [Size],
    pub(crate) price_minor: i64,
    pub(crate) weight_g: u32,
    pub(crate) name: Both,
    /// Two short phrases that can follow the material after a comma.
    pub(crate) notes: [Both; 2],
    /// One sentence that is only true of this thing.
    pub(crate) line: Both,
}

impl Kind {
    /// "cette lanterne", "ce couteau", "cet arrosoir".
    pub(crate) fn this_fr(&self) -> String {
        let vowel = self.name.fr.starts_with(['a', 'e', 'é', 'ê', 'i', 'o', 'u', 'h']);
        let this = match (self.gender, vowel) {
            (Gender::F, _) => "cette",
            (Gender::M, true) => "cet",
            (Gender::M, false) => "ce",
        };
        format!("{this} {}", self.name.fr)
    }
}

const fn z(
    code: &'static str,
    en: &'static str,
    fr: &'static str,
    price_pct: i64,
    weight_pct: u32,
) -> Size {
    Size { code, name: b(en, fr), price_pct, weight_pct }
}

const ONE: [Size; 0] = [];
const SMALL_LARGE: [Size; 2] =
    [z("S", "small", "petit modèle", 100, 100), z("L", "large", "grand modèle", 145, 170)];
const THREE: [Size; 3] = [
    z("S", "small", "petit modèle", 80, 65),
    z("M", "medium", "moyen modèle", 100, 100),
    z("L", "large", "grand modèle", 135, 160),
];
const GARMENT: [Size; 4] = [
    z("S", "S", "S", 100, 92),
    z("M", "M", "M", 100, 100),
    z("L", "L", "L", 100, 108),
    z("X", "XL", "XL", 100, 116),
];
const SHEET: [Size; 2] =
    [z("A", "50 × 70 cm", "50 × 70 cm", 100, 100), z("B", "70 × 100 cm", "70 × 100 cm", 150, 190)];
const MINUTES: [Size; 3] = [
    z("3", "3 minutes", "3 minutes", 80, 70),
    z("10", "10 minutes", "10 minutes", 100, 100),
    z("30", "30 minutes", "30 minutes", 140, 170),
];
const CUPS: [Size; 2] = [z("25", "25 cl", "25 cl", 100, 100), z("40", "40 cl", "40 cl", 120, 140)];
const PANS: [Size; 3] = [
    z("16", "16 cm", "16 cm", 85, 75),
    z("20", "20 cm", "20 cm", 100, 100),
    z("24", "24 cm", "24 cm", 125, 135),
];
const LITRES: [Size; 2] =
    [z("3", "3 litres", "3 litres", 100, 100), z("5", "5 litres", "5 litres", 130, 140)];
const JARS: [Size; 3] = [
    z("05", "½ litre", "½ litre", 75, 60),
    z("1", "1 litre", "1 litre", 100, 100),
    z("2", "2 litres", "2 litres", 135, 170),
];
const CANS: [Size; 2] =
    [z("5", "5 litres", "5 litres", 100, 100), z("9", "9 litres", "9 litres", 125, 135)];
const SQUARES: [Size; 2] =
    [z("45", "45 × 45 cm", "45 × 45 cm", 100, 100), z("60", "60 × 60 cm", "60 × 60 cm", 140, 175)];
const TOWELS: [Size; 2] = [
    z("H", "hand, 50 × 90 cm", "mains, 50 × 90 cm", 60, 45),
    z("B", "bath, 70 × 140 cm", "bain, 70 × 140 cm", 100, 100),
];
const METRES: [Size; 2] =
    [z("10", "10 metres", "10 mètres", 100, 100), z("20", "20 metres", "20 mètres", 170, 195)];
const BLADES: [Size; 2] = [
    z("15", "15 cm blade", "lame de 15 cm", 100, 100),
    z("20", "20 cm blade", "lame de 20 cm", 130, 140),
];

macro_rules! kind {
    ($code:literal $slug:literal $g:ident $cat:literal $d:ident [$($mat:ident)*] [$($col:ident)*] $sizes:ident $price:literal $weight:literal
     $en:literal / $fr:literal; $n1:literal / $n1f:literal; $n2:literal / $n2f:literal; $l:literal / $lf:literal) => {
        Kind {
            code: $code, slug: $slug, gender: Gender::$g, category: $cat, drawing: Drawing::$d,
            materials: &[$(&m::$mat),*], colours: &[$($col),*], sizes: &$sizes,
            price_minor: $price, weight_g: $weight, name: b($en, $fr),
            notes: [b($n1, $n1f), b($n2, $n2f)], line: b($l, $lf),
        }
    };
}

#[rustfmt::skip]
pub(crate) static KINDS: [Kind; 72] = [
    // --- maps & instruments ------------------------------------------------------------------
    kind!("CHT" "sea-chart" F "instruments/charts" ChartRoll [PAPER] [] SHEET 3900 180
        "sea chart" / "carte marine"; "printed in three inks" / "imprimée en trois encres"; "soundings in fathoms and metres" / "sondes en brasses et en mètres";
        "It is drawn at one to fifty thousand, with every rock that has a name and most that do not." / "Elle est dressée au cinquante-millième, avec chaque rocher qui a un nom et la plupart de ceux qui n’en ont pas."),
    kind!("MAP" "walking-map" F "instruments/charts" FoldedMap [PAPER] [KELP CORAL INK OCHRE] ONE 1490 90
        "walking map" / "carte de marche"; "folds flat on any panel" / "se plie à plat sur chaque volet"; "stiles and springs marked" / "échaliers et sources indiqués";
        "The legend is printed on the outer fold, where a wet thumb can find it." / "La légende figure sur le pli extérieur, là où un pouce mouillé la trouve."),
    kind!("LOG" "logbook" M "instruments/charts" Logbook [LEATHER CANVAS] [INK BRICK KELP OCHRE HEATHER] ONE 2690 340
        "logbook" / "livre de bord"; "two hundred sewn pages" / "deux cents pages cousues"; "opens flat and stays so" / "s’ouvre à plat et y reste";
        "Columns for wind, tide and mood are ruled faintly enough to be ignored." / "Les colonnes du vent, de la marée et de l’humeur sont assez pâles pour qu’on les ignore."),
    kind!("PCO" "pocket-compass" F "instruments/compasses" Compass [BRASS COPPER STEEL] [] ONE 5400 120
        "pocket compass" / "boussole de poche"; "with a lid that clicks" / "au couvercle qui claque"; "needle on a jewel pivot" / "aiguille sur pivot de pierre";
        "The needle settles in four seconds, which is about as long as a doubt should last." / "L’aiguille se pose en quatre secondes : un doute ne devrait pas durer davantage."),
    kind!("DCO" "desk-compass" F "instruments/compasses" DeskCompass [OAK WALNUT] [] ONE 8900 620
        "desk compass" / "boussole de table"; "in a dovetailed box" / "dans un coffret à queues d’aronde"; "gimballed to stay level" / "montée sur cardan";
        "It sits in gimbals and keeps its temper when the table moves." / "Suspendue sur cardan, elle garde son calme quand la table bouge."),
    kind!("BCO" "bearing-compass" F "instruments/compasses" BearingCompass [ENAMEL] [CORAL INK KELP LAGOON] ONE 6900 210
        "bearing compass" / "boussole de relèvement"; "sights at arm’s length" / "vise à bout de bras"; "rubber-edged and loud in colour" / "bordée de caoutchouc, bien voyante";
        "Two notches and a hairline give you a headland to the nearest two degrees." / "Deux encoches et un fil donnent un cap à deux degrés près."),
    kind!("TEL" "pocket-telescope" F "instruments/optics" Telescope [BRASS COPPER] [] ONE 11900 480
        "pocket telescope" / "longue-vue de poche"; "three draws, twelve times" / "trois tirages, douze fois"; "wrapped grip" / "poignée gainée";
        "Closed it is as long as a hand; open it reaches the next island but one." / "Fermée, elle a la longueur d’une main ; ouverte, elle atteint la deuxième île."),
    kind!("BIN" "field-glass" F "instruments/optics" Binoculars [LEATHER] [INK KELP SLATE BRICK] ONE 14900 760
        "field glass" / "jumelle de terrain"; "seven by thirty-five" / "sept par trente-cinq"; "wide view, quick focus" / "champ large, mise au point rapide";
        "The focus wheel has teeth deep enough for gloves." / "La molette a des dents assez profondes pour les gants."),
    kind!("MAG" "chart-magnifier" F "instruments/optics" Magnifier [BRASS OAK WALNUT] [] ONE 3400 190
        "chart magnifier" / "loupe de carte"; "doubles the small print" / "double les petites lettres"; "with a turned handle" / "au manche tourné";
        "Its rim is heavy, so it stays where you lay it on a rolling page." / "Son cercle est lourd : elle reste où on la pose, même sur une page qui roule."),
    kind!("BAR" "barometer" M "instruments/weather" Barometer [BRASS OAK WALNUT] [] ONE 12900 980
        "barometer" / "baromètre"; "with a second hand to remember by" / "avec une aiguille pour se souvenir"; "set for sea level" / "réglé au niveau de la mer";
        "Tap the glass, out of habit; it does not mind and neither do we." / "Tapotez le verre, par habitude ; il n’en prend pas ombrage, nous non plus."),
    kind!("TCL" "tide-clock" F "instruments/weather" TideClock [ENAMEL] [INK FOAM LAGOON CORAL] ONE 8400 640
        "tide clock" / "horloge à marées"; "one hand, twelve hours and twenty-five minutes" / "une aiguille, douze heures vingt-cinq"; "set once at high water" / "se règle une fois, à la pleine mer";
        "It tells you when to leave rather than what time it is." / "Elle dit quand partir plutôt que l’heure qu’il est."),
    kind!("HGL" "hourglass" M "instruments/weather" Hourglass [OAK WALNUT ASH] [] MINUTES 3900 420
        "sand glass" / "sablier"; "filled on the beach at Isa" / "rempli sur la plage d’Isa"; "blown in one piece" / "soufflé d’une pièce";
        "The sand is sieved three times, and still runs a little slower in damp weather." / "Le sable est tamisé trois fois, et coule pourtant un peu moins vite par temps humide."),
    // --- lamps ---------------------------------------------------------------------------------
    kind!("STL" "storm-lantern" F "lamps/lanterns" StormLantern [ENAMEL] [CORAL INK KELP OCHRE LAGOON] ONE 6400 1150
        "storm lantern" / "lanterne tempête"; "burns fourteen hours a filling" / "brûle quatorze heures par plein"; "stays lit in a gale" / "reste allumée par gros temps";
        "The globe lifts with one thumb and drops back square, gloves or no gloves." / "Le globe se lève d’un pouce et retombe d’aplomb, avec ou sans gants."),
    kind!("DKL" "deck-lantern" F "lamps/lanterns" DeckLantern [BRASS COPPER] [] SMALL_LARGE 9800 1700
        "deck lantern" / "lanterne de pont"; "ribbed glass, three-sided guard" / "verre côtelé, garde à trois branches"; "hangs or stands" / "se suspend ou se pose";
        "Its ribbed glass throws the light out flat, across the table and not at the ceiling." / "Son verre côtelé envoie la lumière à plat, sur la table et non au plafond."),
    kind!("PRL" "porch-lantern" F "lamps/lanterns" BoxLantern [TIN] [SLATE BRICK FOAM KELP] SMALL_LARGE 5200 1300
        "porch lantern" / "lanterne de seuil"; "four panes and a ring" / "quatre vitres et un anneau"; "takes any candle" / "accepte toute bougie";
        "One pane is a door, held by a turn of wire that has never needed improving." / "L’une des vitres est une porte, tenue par un tour de fil qui n’a jamais demandé mieux."),
    kind!("RDL" "reading-lamp" F "lamps/table" TableLamp [ASH LINEN] [FOAM OCHRE LAGOON THRIFT KELP] ONE 8900 1400
        "reading lamp" / "lampe de lecture"; "with a linen shade" / "à l’abat-jour de lin"; "warm at the edges" / "chaude sur les bords";
        "The shade is wide enough for two chairs and one argument about the window." / "L’abat-jour est assez large pour deux fauteuils et une dispute au sujet de la fenêtre."),
    kind!("DML" "dome-lamp" F "lamps/table" DomeLamp [STONEWARE ENAMEL] [CORAL KELP OCHRE HEATHER SLATE] ONE 7600 1250
        "dome lamp" / "lampe dôme"; "dims with a touch" / "se tamise d’un doigt"; "glows without glare" / "luit sans éblouir";
        "It lights the table and leaves faces to themselves." / "Elle éclaire la table et laisse les visages tranquilles."),
    kind!("ARM" "desk-lamp" F "lamps/table" ArmLamp [STEEL] [INK CORAL KELP FOAM] ONE 9900 2100
        "desk lamp" / "lampe de bureau"; "three joints, no screws to tighten" / "trois articulations, rien à resserrer"; "heavy foot, light arm" / "pied lourd, bras léger";
        "Push it away at night and it holds the pose until morning." / "Repoussez-la le soir, elle garde la pose jusqu’au matin."),
    kind!("DPN" "dome-pendant" F "lamps/pendants" Pendant [ENAMEL] [INK CORAL KELP OCHRE LAGOON] SMALL_LARGE 8200 1500
        "dome pendant" / "suspension dôme"; "white inside" / "blanche à l’intérieur"; "on two metres of woven cord" / "sur deux mètres de cordon tissé";
        "Hung low over a table it makes a room of it." / "Suspendue bas au-dessus d’une table, elle en fait une pièce."),
    kind!("GPN" "globe-pendant" F "lamps/pendants" GlobePendant [GLASS] [FOAM LAGOON THRIFT OCHRE] ONE 11200 1350
        "globe pendant" / "suspension globe"; "blown, so no two agree" / "soufflée, donc jamais pareille"; "with a brass gallery" / "à galerie de laiton";
        "There is a bubble or two in the glass, which we count as signatures." / "Il y a une bulle ou deux dans le verre ; nous les tenons pour des signatures."),
    kind!("BPN" "willow-pendant" F "lamps/pendants" WillowPendant [WILLOW] [] SMALL_LARGE 6900 700
        "willow pendant" / "suspension tressée"; "woven open, for shadows" / "tressée à jour, pour les ombres"; "light enough for any hook" / "légère pour tout crochet";
        "By day it is a basket; after dark it draws nets on the walls." / "Le jour, c’est un panier ; la nuit, elle dessine des filets sur les murs."),
    kind!("CHB" "chamberstick" M "lamps/candles" Chamberstick [ENAMEL] [CORAL INK KELP FOAM OCHRE] ONE 2400 310
        "chamberstick" / "bougeoir à anse"; "with a loop for one finger" / "avec une anse pour un doigt"; "drips stay in the dish" / "la cire reste dans la coupelle";
        "Made for walking to bed with, one stair at a time." / "Fait pour monter se coucher, une marche après l’autre."),
    kind!("PIL" "pillar-candle" F "lamps/candles" Pillars [WAX] [FOAM OCHRE THRIFT SLATE] THREE 1690 420
        "pillar candle" / "bougie pilier"; "poured, not pressed" / "coulée, non pressée"; "smells of the hive and little else" / "sent la ruche et presque rien d’autre";
        "The wick is braided on Wick, since you ask." / "La mèche est tressée à Wick, puisque vous le demandez."),
    kind!("CTN" "tin-candle" F "lamps/candles" CandleTin [WAX] [KELP LAGOON HEATHER CORAL] ONE 1490 260
        "tin candle" / "bougie de voyage"; "with a lid for the pocket" / "à couvercle, pour la poche"; "thirty hours of evening" / "trente heures de soirée";
        "When it is finished the tin will hold buttons, hooks or the next one." / "Une fois finie, la boîte gardera des boutons, des hameçons ou la suivante."),
    // --- kitchen & tea -------------------------------------------------------------------------
    kind!("RTP" "round-teapot" F "kitchen/teapots" Teapot [STONEWARE EARTHENWARE] [CORAL LAGOON OCHRE SLATE FOAM] SMALL_LARGE 5600 980
        "round teapot" / "théière ronde"; "pours without a dribble" / "verse sans goutter"; "with a lid that stays on" / "au couvercle qui tient";
        "The spout was changed eleven times before we let it out of the house." / "Le bec a changé onze fois avant que nous la laissions sortir."),
    kind!("TTP" "tall-pot" F "kitchen/teapots" TallPot [ENAMEL] [INK KELP FOAM CORAL] ONE 4800 760
        "tall pot" / "cafetière haute"; "for coffee, broth or flowers" / "pour le café, le bouillon ou les fleurs"; "hinged lid" / "couvercle à charnière";
        "It keeps coffee hot for as long as a story needs." / "Elle tient le café au chaud le temps d’une histoire."),
    kind!("CAD" "tea-caddy" F "kitchen/teapots" Caddy [TIN] [BRICK INK OCHRE LAGOON THRIFT] ONE 1950 240
        "tea caddy" / "boîte à thé"; "double lid, dry leaves" / "double couvercle, feuilles au sec"; "holds a quarter of a kilo" / "contient un quart de kilo";
        "The inner lid closes with a breath; you will come to listen for it." / "Le couvercle intérieur se ferme dans un souffle ; on finit par l’attendre."),
    kind!("MUG" "mug" M "kitchen/cups" Mug [STONEWARE] [CORAL INK KELP OCHRE HEATHER SLATE] CUPS 1890 360
        "mug" / "gobelet"; "glazed inside, bare outside" / "émaillé dedans, nu dehors"; "a handle for three fingers" / "une anse pour trois doigts";
        "The foot is left unglazed so it does not slide when the boat does." / "Le pied reste brut pour ne pas glisser quand le bateau glisse."),
    kind!("CUP" "cup-and-saucer" F "kitchen/cups" Cup [EARTHENWARE] [FOAM LAGOON THRIFT OCHRE] ONE 2600 390
        "cup and saucer" / "tasse et soucoupe"; "thin at the lip" / "fine au bord"; "sold as one, bought as six" / "vendue seule, achetée par six";
        "The saucer is deep enough for a biscuit and its crumbs." / "La soucoupe est assez creuse pour un biscuit et ses miettes."),
    kind!("CMG" "camp-mug" M "kitchen/cups" CampMug [ENAMEL] [FOAM INK CORAL KELP LAGOON] ONE 1290 150
        "camp mug" / "quart de campagne"; "rolled rim" / "bord roulé"; "hangs from a rucksack" / "s’accroche au sac";
        "It heats on a stove, rings like a bell and forgives being dropped." / "Il chauffe sur le feu, sonne comme une cloche et pardonne les chutes."),
    kind!("KET" "kettle" F "kitchen/stove" Kettle [ENAMEL COPPER] [CORAL INK FOAM KELP OCHRE] ONE 6900 1350
        "kettle" / "bouilloire"; "boils a litre and a half" / "fait bouillir un litre et demi"; "whistles in the key of F" / "siffle en fa";
        "Its whistle carries to the end of the garden and no further." / "Son sifflet porte jusqu’au bout du jardin, pas plus loin."),
    kind!("PAN" "saucepan" F "kitchen/stove" Saucepan [COPPER STEEL] [] PANS 7400 1200
        "saucepan" / "casserole"; "with a long cool handle" / "au long manche qui reste froid"; "pours from either side" / "verse des deux côtés";
        "The rim is rolled out, so soup goes where you send it." / "Le bord est évasé : la soupe va où on l’envoie."),
    kind!("POT" "stew-pot" F "kitchen/stove" StewPot [ENAMEL] [BRICK INK KELP OCHRE] LITRES 9800 3900
        "stew pot" / "cocotte"; "oven, stove or embers" / "four, plaque ou braises"; "heavy lid, slow dinner" / "couvercle lourd, dîner lent";
        "Little bumps inside the lid send the steam back down as rain." / "De petits picots sous le couvercle font retomber la vapeur en pluie."),
    kind!("JAR" "storage-jar" M "kitchen/pantry" Jar [GLASS] [] JARS 1690 620
        "storage jar" / "bocal"; "with a wire clasp" / "à fermoir de fil"; "keeps flour, secrets, barley" / "garde farine, secrets et orge";
        "The seal is a plain ring that any hardware counter can replace." / "Le joint est un simple anneau que toute quincaillerie remplace."),
    kind!("BRD" "bread-board" F "kitchen/pantry" Board [OAK WALNUT ASH] [] SMALL_LARGE 3800 900
        "bread board" / "planche à pain"; "cut from one plank" / "taillée d’une seule planche"; "with a hole to hang by" / "percée pour se suspendre";
        "The grain runs the long way, as bread does." / "Le fil court dans la longueur, comme celui du pain."),
    kind!("CRK" "honey-crock" M "kitchen/pantry" Crock [STONEWARE] [OCHRE FOAM SLATE LAGOON] ONE 2800 560
        "honey crock" / "pot à miel"; "with a turned dipper" / "avec sa cuillère tournée"; "notched lid" / "couvercle échancré";
        "The notch in the lid is for the dipper, and for knowing which way round it goes." / "L’encoche du couvercle est pour la cuillère, et pour savoir dans quel sens le poser."),
    // --- textiles ------------------------------------------------------------------------------
    kind!("THW" "throw" M "textiles/blankets" Blanket [WOOL] [CORAL INK KELP FOAM HEATHER OCHRE] ONE 9600 900
        "throw" / "plaid"; "fringed at both ends" / "frangé aux deux bouts"; "one and a half by two metres" / "un mètre cinquante sur deux";
        "Wide enough for two people who like each other." / "Assez large pour deux personnes qui s’entendent."),
    kind!("BBL" "boat-blanket" F "textiles/blankets" RolledBlanket [WOOL] [BRICK INK LAGOON SLATE] ONE 11900 1500
        "boat blanket" / "couverture de bord"; "rolls into its own strap" / "se roule dans sa sangle"; "thick as a slice of bread" / "épaisse comme une tartine";
        "The strap has a handle, since blankets travel." / "La sangle a une poignée, car les couvertures voyagent."),
    kind!("QLT" "quilt" F "textiles/blankets" Quilt [COTTON LINEN] [FOAM THRIFT LAGOON KELP OCHRE] SMALL_LARGE 13900 1800
        "quilt" / "courtepointe"; "stitched in waves" / "piquée en vagues"; "the same on both sides" / "pareille des deux côtés";
        "The stitching follows a chart of the bay, if you know the bay." / "Les points suivent une carte de la baie, pour qui connaît la baie."),
    kind!("JMP" "jumper" M "textiles/knitwear" Jumper [WOOL] [INK FOAM CORAL KELP OCHRE] GARMENT 11900 680
        "fisher’s jumper" / "pull marin"; "ribbed at every edge" / "côtelé à chaque bord"; "knitted in the round" / "tricoté en rond";
        "Each island has its own stitch across the chest; ask which is yours." / "Chaque île a son point sur la poitrine ; demandez quel est le vôtre."),
    kind!("SCF" "scarf" F "textiles/knitwear" Scarf [WOOL] [CORAL LAGOON OCHRE HEATHER INK] ONE 4900 260
        "scarf" / "écharpe"; "two metres, twice round" / "deux mètres, deux tours"; "with a knotted fringe" / "à frange nouée";
        "Long enough to lend one end." / "Assez longue pour en prêter un bout."),
    kind!("BEA" "watch-cap" M "textiles/knitwear" Beanie [WOOL] [INK CORAL OCHRE KELP SLATE HEATHER] ONE 3400 110
        "watch cap" / "bonnet de quart"; "turned up twice" / "à double revers"; "covers the ears it is given" / "couvre les oreilles qu’on lui donne";
        "Named for the four-till-eight, when it is most admired." / "Il doit son nom au quart de quatre à huit, où on l’admire le plus."),
    kind!("CSH" "cushion" M "textiles/cushions" Cushion [LINEN COTTON] [LAGOON CORAL OCHRE KELP THRIFT INK] SQUARES 3600 520
        "cushion" / "coussin"; "piped all round" / "passepoilé tout autour"; "with a hidden zip" / "à fermeture cachée";
        "Filled plump, because they only ever go one way." / "Bien rempli, car un coussin ne va que dans un sens."),
    kind!("BOL" "bolster" M "textiles/cushions" Bolster [COTTON] [INK BRICK OCHRE LAGOON] ONE 4400 780
        "bolster" / "traversin"; "striped along its length" / "rayé sur la longueur"; "for window seats" / "pour les banquettes";
        "It goes behind a back, under a knee or against a draught." / "Il se met dans le dos, sous un genou ou contre un courant d’air."),
    kind!("POU" "pouffe" M "textiles/cushions" Pouffe [COTTON WOOL] [SLATE OCHRE CORAL FOAM] ONE 10900 3200
        "pouffe" / "pouf"; "knitted over a firm heart" / "tricoté sur un cœur ferme"; "seats one, or two feet" / "pour une personne, ou deux pieds";
        "Carry it by the loop on top; children carry it by rolling." / "On le porte par la boucle du dessus ; les enfants, en le roulant."),
    kind!("TWL" "towel" F "textiles/linen" Towel [COTTON] [LAGOON FOAM CORAL SLATE THRIFT] TOWELS 3900 620
        "towel" / "serviette"; "looped one side, flat the other" / "bouclée d’un côté, rase de l’autre"; "dries on the line by noon" / "sèche au fil avant midi";
        "A tape is sewn into the long side, for pegs and hooks." / "Un ruban est cousu sur le grand côté, pour pinces et crochets."),
    kind!("TTW" "tea-towel" M "textiles/linen" TeaTowel [LINEN] [INK BRICK KELP OCHRE] ONE 1490 120
        "tea towel" / "torchon"; "with a woven stripe" / "à rayure tissée"; "leaves no lint on glass" / "sans peluche sur le verre";
        "It gets better at its work every year, like most of us." / "Il travaille mieux chaque année, comme la plupart d’entre nous."),
    kind!("APR" "apron" M "textiles/linen" Apron [LINEN CANVAS] [SLATE INK BRICK KELP] ONE 4600 340
        "apron" / "tablier"; "three pockets, long strings" / "trois poches, longs liens"; "ties in front" / "se noue devant";
        "The straps cross at the back so the neck is left out of it." / "Les bretelles se croisent dans le dos et laissent la nuque en paix."),
    // --- garden & shore ------------------------------------------------------------------------
    kind!("CAN" "watering-can" M "shore/watering" WateringCan [TIN ENAMEL] [KELP SLATE CORAL OCHRE LAGOON] CANS 4900 1200
        "watering can" / "arrosoir"; "long spout, fine rose" / "long bec, pomme fine"; "balanced when full" / "équilibré une fois plein";
        "Two handles, because full and empty are different jobs." / "Deux anses, car plein et vide sont deux métiers."),
    kind!("MST" "mister" M "shore/watering" Mister [GLASS] [LAGOON OCHRE THRIFT] ONE 2600 330
        "plant mister" / "vaporisateur"; "brass pump, fine fog" / "pompe de laiton, brume fine"; "for ferns and hot afternoons" / "pour fougères et après-midi brûlants";
        "One press is one breath of sea fog." / "Une pression, c’est une haleine de brume."),
    kind!("GBK" "garden-bucket" M "shore/watering" Bucket [TIN ENAMEL] [FOAM INK KELP BRICK] CANS 2900 850
        "garden bucket" / "seau de jardin"; "with a wooden grip" / "à poignée de bois"; "marked by the litre inside" / "gradué au litre à l’intérieur";
        "The ear of the handle is folded, so it does not bite." / "L’oreille de l’anse est repliée, elle ne mord pas."),
    kind!("PLN" "planter" M "shore/planters" Planter [TERRACOTTA STONEWARE] [BRICK FOAM LAGOON OCHRE SLATE] THREE 2900 1900
        "planter" / "cache-pot"; "with its own saucer" / "avec sa soucoupe"; "drained at the foot" / "percé au pied";
        "Potted up on the day in our picture; yours arrives empty and hopeful." / "Planté le jour de l’image ; le vôtre arrive vide et plein d’espoir."),
    kind!("HPT" "hanging-pot" M "shore/planters" HangingPot [STONEWARE TERRACOTTA] [FOAM CORAL LAGOON THRIFT] ONE 3400 1100
        "hanging pot" / "pot suspendu"; "on three hemp cords" / "sur trois cordes de chanvre"; "for things that trail" / "pour ce qui retombe";
        "The cords meet in one knot, which we have tied for you and you may copy." / "Les cordes se rejoignent en un nœud, déjà fait, que vous pouvez copier."),
    kind!("TRO" "herb-trough" F "shore/planters" Trough [TIN TERRACOTTA] [KELP SLATE BRICK OCHRE] ONE 4200 2400
        "herb trough" / "jardinière"; "five herbs wide" / "large de cinq herbes"; "sits on a sill" / "tient sur un rebord";
        "Parsley at one end, thyme at the other, and a truce in the middle." / "Le persil d’un côté, le thym de l’autre, et une trêve au milieu."),
    kind!("BSK" "shore-basket" M "shore/baskets" Basket [WILLOW] [] THREE 4400 800
        "shore basket" / "panier de grève"; "lets the sea back out" / "laisse ressortir la mer"; "with a wrapped handle" / "à anse enroulée";
        "Fill it with mussels, washing or a very small dog." / "Remplissez-le de moules, de linge ou d’un tout petit chien."),
    kind!("TRG" "trug" F "shore/baskets" Trug [ASH OAK] [] SMALL_LARGE 5200 950
        "garden trug" / "corbeille de jardin"; "steamed and nailed with copper" / "cintrée, clouée de cuivre"; "wide and shallow" / "large et peu profonde";
        "Cut flowers lie down in it; potatoes do not mind." / "Les fleurs coupées s’y couchent ; les pommes de terre s’en moquent."),
    kind!("LGB" "log-basket" M "shore/baskets" LogBasket [WILLOW] [] SMALL_LARGE 6800 2100
        "log basket" / "panier à bûches"; "woven double at the foot" / "à double tresse au pied"; "with two honest handles" / "à deux franches poignées";
        "It stands by the hearth and holds one long evening." / "Il se tient près de l’âtre et contient une longue soirée."),
    kind!("KIT" "kite" M "shore/beach" Kite [COTTON] [CORAL OCHRE LAGOON INK THRIFT] ONE 3900 280
        "kite" / "cerf-volant"; "flies in a steady eight knots" / "vole par huit nœuds réguliers"; "with a tail of bows" / "à queue de nœuds";
        "The line is forty metres, and so is the walk to fetch it." / "La ligne fait quarante mètres, et la marche pour la chercher aussi."),
    kind!("SND" "bucket-and-spade" M "shore/beach" BucketSpade [TIN] [CORAL LAGOON OCHRE KELP] ONE 2200 520
        "bucket and spade" / "seau et pelle"; "for castles that last an hour" / "pour châteaux d’une heure"; "edges rolled for small hands" / "bords roulés pour petites mains";
        "The bucket turns out a tower with four battlements, given patience and damp sand." / "Le seau démoule une tour à quatre créneaux, avec patience et sable humide."),
    kind!("DCK" "deck-chair" M "shore/beach" DeckChair [CANVAS] [CORAL INK LAGOON OCHRE BRICK] ONE 11900 5400
        "deck chair" / "transat"; "three notches of leisure" / "trois crans de loisir"; "folds flat, on the second try" / "se plie à plat, au second essai";
        "The canvas unhooks to be washed, or to be swapped when the summer fades." / "La toile se décroche pour être lavée, ou changée quand l’été passe."),
    // --- workshop ------------------------------------------------------------------------------
    kind!("PKN" "pocket-knife" M "workshop/knives" PocketKnife [WALNUT OAK ASH] [] ONE 4900 95
        "pocket knife" / "couteau de poche"; "a ring locks the blade" / "une virole bloque la lame"; "eight centimetres of edge" / "huit centimètres de fil";
        "For apples, string and the opening of letters." / "Pour les pommes, la ficelle et l’ouverture du courrier."),
    kind!("CKN" "kitchen-knife" M "workshop/knives" ChefKnife [WALNUT OAK] [] BLADES 7900 210
        "kitchen knife" / "couteau de cuisine"; "forged, then left alone" / "forgé, puis laissé tranquille"; "full tang, three rivets" / "plate semelle, trois rivets";
        "It takes an edge from a plain stone and keeps it through a week of onions." / "Il prend le fil sur une simple pierre et le garde une semaine d’oignons."),
    kind!("OKN" "oyster-knife" M "workshop/knives" OysterKnife [ASH OAK] [CORAL LAGOON INK OCHRE] ONE 2600 120
        "oyster knife" / "couteau à huîtres"; "with a guard for the thumb" / "avec garde pour le pouce"; "short, blunt and persuasive" / "court, émoussé et persuasif";
        "The handle floats, which we learned was worth paying for." / "Le manche flotte ; nous avons appris que cela valait son prix."),
    kind!("RPE" "mooring-rope" F "workshop/rope" Rope [HEMP] [] METRES 3900 1600
        "mooring rope" / "amarre"; "three strands, whipped ends" / "trois torons, bouts surliés"; "kind to the hands" / "douce aux mains";
        "An eye is spliced into one end; the other is for you to decide." / "Un œil est épissé d’un côté ; de l’autre, à vous de décider."),
    kind!("TWN" "twine" F "workshop/rope" Twine [HEMP] [STRAW BRICK KELP INK OCHRE] ONE 890 180
        "garden twine" / "ficelle de jardin"; "a hundred metres on a spool" / "cent mètres sur bobine"; "knots and holds" / "se noue et tient";
        "It ties beans, parcels and conversations." / "Elle lie les haricots, les colis et les conversations."),
    kind!("SKP" "skipping-rope" F "workshop/rope" SkipRope [ASH] [CORAL LAGOON OCHRE KELP] ONE 1890 210
        "skipping rope" / "corde à sauter"; "with turned handles" / "à poignées tournées"; "two metres and a half" / "deux mètres cinquante";
        "The handles are drilled through, so the rope spins and does not twist." / "Les poignées sont percées de part en part : la corde tourne sans vriller."),
    kind!("MAL" "mallet" M "workshop/tools" Mallet [ASH OAK] [] SMALL_LARGE 3200 560
        "mallet" / "maillet"; "faces cut at three degrees" / "faces coupées à trois degrés"; "persuades without bruising" / "persuade sans meurtrir";
        "The head is wedged from above and grows tighter the more it is used." / "La tête est coincée par le haut et se serre à mesure qu’on s’en sert."),
    kind!("PLA" "block-plane" M "workshop/tools" Plane [WALNUT OAK] [] ONE 8600 780
        "block plane" / "rabot"; "iron bedded low" / "fer couché bas"; "shavings you can read through" / "copeaux à travers lesquels on lit";
        "Set it once with a coin and it will sulk for nobody." / "Réglé une fois avec une pièce, il ne boude personne."),
    kind!("BRS" "bench-brush" F "workshop/tools" Brush [ASH OAK WALNUT] [] ONE 2100 190
        "bench brush" / "brosse d’établi"; "soft tips, stiff middle" / "pointes souples, cœur ferme"; "sweeps what the plane leaves" / "balaie ce que laisse le rabot";
        "The last thing used and the first thing hung up." / "La dernière chose qu’on emploie, la première qu’on raccroche."),
    kind!("TBX" "tool-box" F "workshop/bags" ToolBox [STEEL] [CORAL INK KELP OCHRE] ONE 5900 2600
        "tool box" / "boîte à outils"; "opens in two steps" / "s’ouvre en deux étages"; "one handle, balanced" / "une poignée, équilibrée";
        "Nothing inside it rattles, once you have put things where they belong." / "Rien n’y cliquette, une fois chaque chose à sa place."),
    kind!("TOT" "tote" M "workshop/bags" Tote [CANVAS] [FOAM INK OCHRE CORAL KELP] ONE 4400 520
        "harbour tote" / "cabas de port"; "stands up by itself" / "tient debout tout seul"; "handles over the shoulder" / "anses à l’épaule";
        "It carries eleven books, or the fish and the bread." / "Il porte onze livres, ou le poisson et le pain."),
    kind!("KNP" "knapsack" M "workshop/bags" Knapsack [CANVAS] [KELP OCHRE INK BRICK SLATE] ONE 9800 1150
        "knapsack" / "sac à dos"; "two buckles and a flap" / "deux boucles et un rabat"; "dry inside a long shower" / "sec sous une longue averse";
        "There is one pocket outside, for the map and the apple." / "Une poche au-dehors, pour la carte et la pomme."),
];
