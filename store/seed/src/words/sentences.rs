//! Sentence patterns per department. `{this}` is "this storm lantern" / "cette lanterne tempête",
//! `{material}` the material, `{place}` the island of the collection.
//!
//! French patterns never make anything agree with `{this}`, so one pattern serves both genders.

use super::{Both, b};

pub(crate) struct Patterns {
    pub(crate) openings: [Both; 8],
    pub(crate) closings: [Both; 6],
}

/// In the order of the departments.
pub(crate) static PATTERNS: [Patterns; 6] = [
    Patterns {
        openings: [
            b(
                "We keep {this} on the counter, because people reach for it while they talk.",
                "Nous gardons {this} sur le comptoir : chacun y porte la main tout en parlant.",
            ),
            b(
                "{This} was drawn for people who would rather know than guess.",
                "{This} s’adresse à qui préfère savoir que deviner.",
            ),
            b(
                "Somebody on the ferry always has {this} out before the engine starts.",
                "Sur le bac, il y a toujours quelqu’un pour sortir {this} avant le départ.",
            ),
            b(
                "Made in {material}, {this} is for the pocket, the shelf and the wet bench of a boat.",
                "En {material}, {this} va dans la poche, sur l’étagère et sur le banc mouillé d’un bateau.",
            ),
            b(
                "{This} answers one question at a time, and answers it plainly.",
                "{This} répond à une question à la fois, et y répond simplement.",
            ),
            b(
                "You can navigate without {this}; you will only be less pleased with yourself.",
                "On peut naviguer sans {this} ; on en sera seulement moins content de soi.",
            ),
            b(
                "There is {this} in every harbour office of the chain, and this is that one.",
                "Chaque capitainerie des îles possède {this} ; c’est le même modèle.",
            ),
            b(
                "{This} has been in our list since the list was written by hand.",
                "{This} figure à notre liste depuis qu’on l’écrivait à la main.",
            ),
        ],
        closings: [
            b("Keep it near the door.", "À garder près de la porte."),
            b(
                "It makes a good present for somebody who is always early.",
                "Un bon cadeau pour quelqu’un qui arrive toujours en avance.",
            ),
            b(
                "It comes in a plain box with a loop of twine.",
                "Livraison dans une boîte simple, avec une boucle de ficelle.",
            ),
            b("The rest is weather.", "Le reste est affaire de temps."),
            b(
                "Check it against a friend’s; then check the friend.",
                "Comparez avec un ami ; puis vérifiez l’ami.",
            ),
            b(
                "We calibrate by the window on clear mornings.",
                "Nous étalonnons à la fenêtre, les matins clairs.",
            ),
        ],
    },
    Patterns {
        openings: [
            b(
                "{This} was made for the hour when the kettle is on and nobody has drawn the curtains.",
                "{This} attend l’heure où l’eau chauffe et où personne n’a tiré les rideaux.",
            ),
            b(
                "In {material}, {this} gives a light you can read by and still see the sea.",
                "En {material}, {this} donne une lumière qui permet de lire et de voir encore la mer.",
            ),
            b(
                "We light {this} at four in December and at ten in June.",
                "Nous allumons {this} à quatre heures en décembre, à dix heures en juin.",
            ),
            b(
                "A window with {this} in it can be seen from the ferry.",
                "Une fenêtre où brille {this} se voit depuis le bac.",
            ),
            b(
                "{This} does the old work of a lamp: it gathers people.",
                "{This} fait le vieux travail d’une lampe : rassembler les gens.",
            ),
            b(
                "We hung {this} in the shop for a week, and then could not take it down.",
                "Nous avons mis {this} dans la boutique une semaine, sans pouvoir ensuite l’en retirer.",
            ),
            b(
                "{This} is bright enough to mend by and soft enough to talk by.",
                "{This} éclaire assez pour raccommoder et assez peu pour bavarder.",
            ),
            b(
                "Most evenings on the islands begin with {this}.",
                "La plupart des soirées des îles commencent avec {this}.",
            ),
        ],
        closings: [
            b("Put it where the evening happens.", "À placer là où se passe la soirée."),
            b(
                "It looks well unlit, too, which is most of the day.",
                "Belle allure même sans flamme, c’est-à-dire presque tout le jour.",
            ),
            b(
                "Spare parts are kept in the drawer under the till.",
                "Les pièces de rechange sont dans le tiroir sous la caisse.",
            ),
            b("Do not leave a flame to mind itself.", "Ne laissez jamais une flamme seule."),
            b(
                "One light makes a room; two make a harbour.",
                "Une lumière fait une chambre ; deux font un port.",
            ),
            b("It travels wrapped in straw.", "Livraison dans la paille."),
        ],
    },
    Patterns {
        openings: [
            b(
                "{This} has the shape that hands expect.",
                "{This} a la forme que les mains attendent.",
            ),
            b(
                "Breakfast is where {this} earns its place.",
                "C’est au petit déjeuner que {this} gagne sa place.",
            ),
            b(
                "In {material}, {this} goes from the shelf to the table without a change of clothes.",
                "En {material}, {this} passe de l’étagère à la table sans changer de tenue.",
            ),
            b(
                "There is supper, and then there is supper with {this} on the table.",
                "Il y a le dîner, et il y a le dîner avec {this} sur la table.",
            ),
            b(
                "We asked six kitchens to live with {this} for a winter, and asked for it back in vain.",
                "Nous avons confié {this} à six cuisines pour un hiver, et nous attendons toujours son retour.",
            ),
            b(
                "{This} is plain on purpose, so that the food can talk.",
                "{This} est simple à dessein, pour laisser parler le repas.",
            ),
            b(
                "A cupboard with {this} in it is a cupboard people open.",
                "Un placard où se trouve {this} est un placard qu’on ouvre.",
            ),
            b(
                "{This} was made to be used daily and inherited crossly.",
                "{This} est là pour servir chaque jour et faire des héritiers jaloux.",
            ),
        ],
        closings: [
            b("Use it on ordinary days.", "À utiliser les jours ordinaires."),
            b(
                "It stacks, hangs or hides, as you like.",
                "À empiler, suspendre ou cacher, comme il vous plaira.",
            ),
            b("Two of them are not too many.", "Deux, ce n’est pas trop."),
            b(
                "Small marks come from the kiln or the bench, and are how you tell yours.",
                "Les petites marques viennent du four ou de l’établi ; elles disent à qui est quoi.",
            ),
            b(
                "Guests notice it; family stops noticing, which is better.",
                "Les invités s’en aperçoivent ; la famille n’y pense plus, ce qui vaut mieux.",
            ),
            b("Bread not included.", "Pain non compris."),
        ],
    },
    Patterns {
        openings: [
            b(
                "{This} begins as a fleece or a field, and ends on the arm of a chair.",
                "{This} commence dans un pré ou un champ, et finit sur le bras d’un fauteuil.",
            ),
            b(
                "In {material}, {this} is the first thing cold hands look for.",
                "En {material}, {this} est la première chose que cherchent les mains froides.",
            ),
            b(
                "We dye {this} in small lots, so the colour is nearly the same and never quite.",
                "Nous teignons {this} par petits lots : la couleur est presque la même, jamais tout à fait.",
            ),
            b(
                "{This} has no right side, only the side that is up.",
                "{This} n’a pas d’endroit, seulement un dessus.",
            ),
            b(
                "Houses here are judged by their tea and by {this}.",
                "Ici l’on juge une maison à son thé et à {this}.",
            ),
            b(
                "{This} is woven slowly enough for the weaver to look out.",
                "{This} se tisse assez lentement pour qu’on regarde dehors.",
            ),
            b(
                "You will find {this} in the room where everybody ends up.",
                "On trouve {this} dans la pièce où tout le monde finit par aller.",
            ),
            b(
                "{This} weighs what a sleeping cat weighs, or feels as if it did.",
                "{This} pèse le poids d’un chat endormi, ou tout comme.",
            ),
        ],
        closings: [
            b("It will be borrowed.", "On vous l’empruntera."),
            b("Mend it in a colour you like.", "Raccommodez dans une couleur que vous aimez."),
            b("It goes with the weather you have.", "Cela va avec le temps qu’il fait."),
            b("Give it a winter before you judge it.", "Attendez un hiver avant de juger."),
            b("It arrives folded in four, in paper.", "Livraison en quatre plis, dans du papier."),
            b("Cats approve, at length.", "Les chats approuvent, longuement."),
        ],
    },
    Patterns {
        openings: [
            b(
                "{This} lives outdoors and comes in to be admired.",
                "{This} vit dehors et rentre se faire admirer.",
            ),
            b(
                "In {material}, {this} is made for salt air and muddy hands.",
                "En {material}, {this} ne craint ni l’air salé ni les mains pleines de terre.",
            ),
            b(
                "Between the tide and the gate there is always use for {this}.",
                "Entre la marée et la barrière, il y a toujours usage pour {this}.",
            ),
            b(
                "We leave {this} out for a year before we sell one.",
                "Nous laissons {this} dehors un an avant d’en vendre.",
            ),
            b(
                "{This} turns a chore into a reason to go outside.",
                "{This} change une corvée en raison de sortir.",
            ),
            b(
                "Gardens on the islands are small, and {this} knows it.",
                "Les jardins des îles sont petits, et {this} le sait.",
            ),
            b(
                "{This} is for the kind of afternoon that has no plan.",
                "{This} convient aux après-midi sans projet.",
            ),
            b(
                "Every porch has a corner that waits for {this}.",
                "Chaque perron a un coin qui attend {this}.",
            ),
        ],
        closings: [
            b("Rinse off the salt when you remember.", "Rincez le sel quand vous y pensez."),
            b("Sand will be found in it for ever.", "On y trouvera toujours du sable."),
            b("It gets handsomer out of doors.", "Le grand air l’embellit."),
            b("Neighbours will ask.", "Les voisins demanderont."),
            b("Bring it in when the geese go over.", "À rentrer quand passent les oies."),
            b("There is room in it for more than you think.", "Il y tient plus qu’on ne croit."),
        ],
    },
    Patterns {
        openings: [
            b(
                "{This} feels right on the first day and better on the thousandth.",
                "{This} tombe bien en main le premier jour, et mieux le millième.",
            ),
            b(
                "In {material}, {this} is made to be used, mended and handed on.",
                "En {material}, {this} se prête à l’usage, à la réparation et à la transmission.",
            ),
            b(
                "A bench without {this} is only a table.",
                "Un établi sans {this} n’est qu’une table.",
            ),
            b(
                "We make {this} for people who put things back.",
                "Nous faisons {this} pour ceux qui rangent.",
            ),
            b(
                "{This} has one job and a great many uses.",
                "{This} a un seul métier et beaucoup d’usages.",
            ),
            b(
                "The boatyard keeps {this} by the door, where everybody can find it.",
                "Le chantier garde {this} près de la porte, où chacun le trouve.",
            ),
            b(
                "{This} is heavier than it looks, in the right place.",
                "{This} pèse plus qu’il n’y paraît, au bon endroit.",
            ),
            b(
                "Small jobs become pleasant ones with {this} in hand.",
                "Les petits travaux deviennent des plaisirs avec {this} en main.",
            ),
        ],
        closings: [
            b("Hang it where you can see it.", "À suspendre bien en vue."),
            b("It will learn your habits.", "Le temps y marquera vos habitudes."),
            b("Kept dry, it keeps its word.", "Au sec, cela dure."),
            b(
                "We repair what we sell, and say what it costs first.",
                "Nous réparons ce que nous vendons, et disons d’abord le prix.",
            ),
            b("Lend it with your name on.", "Ne le prêtez qu’avec votre nom dessus."),
            b("It asks for a nail of its own.", "Un clou de plus, et chaque chose est à sa place."),
        ],
    },
];
