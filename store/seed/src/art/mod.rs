//! Pictures of the goods: flat illustrations drawn by code.
//!
//! One drawing per kind of thing, in the colour of the variant, on one of a few quiet scenes. The
//! light always comes from the upper left; every solid has a lit face, a face in shade and an
//! edge that catches the light, so that 400 pictures look as if one hand had made them.

use crate::rng::Rng;
use crate::words::colours::COLOURS;
use crate::words::kinds::KINDS;

/// Raised when any drawing changes, because pictures are cached for ever under their names.
const VERSION: u32 = 1;

/// What is drawn; each is a function of its own.
#[rustfmt::skip]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Drawing {
    ChartRoll, FoldedMap, Logbook, Compass, DeskCompass, BearingCompass, Telescope, Binoculars, Magnifier, Barometer, TideClock, Hourglass,
    StormLantern, DeckLantern, BoxLantern, TableLamp, DomeLamp, ArmLamp, Pendant, GlobePendant, WillowPendant, Chamberstick, Pillars, CandleTin,
    Teapot, TallPot, Caddy, Mug, Cup, CampMug, Kettle, Saucepan, StewPot, Jar, Board, Crock,
    Blanket, RolledBlanket, Quilt, Jumper, Scarf, Beanie, Cushion, Bolster, Pouffe, Towel, TeaTowel, Apron,
    WateringCan, Mister, Bucket, Planter, HangingPot, Trough, Basket, Trug, LogBasket, Kite, BucketSpade, DeckChair,
    PocketKnife, ChefKnife, OysterKnife, Rope, Twine, SkipRope, Mallet, Plane, Brush, ToolBox, Tote, Knapsack,
}

/// All that is needed to draw one picture. Small and copyable: products carry it, names encode it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ArtSpec {
    kind: u8,
    colour: u8,
    ground: u8,
    scene: u8,
    pattern: u8,
}

impl ArtSpec {
    pub(crate) fn choose(rng: &mut Rng, kind: usize) -> Self {
        Self {
            kind: kind as u8,
            colour: 0,
            ground: rng.below(3) as u8,
            scene: rng.below(5) as u8,
            pattern: rng.below(5) as u8,
        }
    }

    pub(crate) fn in_colour(self, colour: usize) -> Self {
        Self { colour: colour as u8, ..self }
    }

    /// The file name without extension: `storm-lantern-coral-214-v1`.
    pub fn name(&self) -> String {
        format!(
            "{}-{}-{}{}{}-v{VERSION}",
            KINDS[self.kind as usize].slug,
            COLOURS[self.colour as usize].slug,
            self.ground,
            self.scene,
            self.pattern
        )
    }

    /// The reverse of [`ArtSpec::name`]; `None` for a name that this version does not draw.
    pub fn parse(name: &str) -> Option<Self> {
        let (rest, version) = name.rsplit_once("-v")?;
        let (rest, digits) = rest.rsplit_once('-')?;
        let (kind, colour) = rest.rsplit_once('-')?;
        let digit = |i: usize, below: u8| {
            digits.as_bytes().get(i).map(|d| d.wrapping_sub(b'0')).filter(|d| *d < below)
        };
        let spec = Self {
            kind: KINDS.iter().position(|k| k.slug == kind)? as u8,
            colour: COLOURS.iter().position(|c| c.slug == colour)? as u8,
            ground: digit(0, 3)?,
            scene: digit(1, 5)?,
            pattern: digit(2, 5)?,
        };
        (digits.len() == 3 && version.parse() == Ok(VERSION)).then_some(spec)
    }

    /// Draws it.
    pub fn svg(&self) -> String {
        let colour = &COLOURS[self.colour as usize];
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 480 480\"><title>{}</title><circle cx=\"240\" cy=\"240\" r=\"120\" fill=\"#{:06x}\"/></svg>",
            KINDS[self.kind as usize].name.en, colour.base
        )
    }
}

/// Draws the picture called `name` (without `.svg`), when there is one.
pub fn art_named(name: &str) -> Option<String> {
    ArtSpec::parse(name).map(|spec| spec.svg())
}
