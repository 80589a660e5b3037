//! Pictures of the goods: flat illustrations drawn by code.
//!
//! One drawing per kind of thing, in the colour of the variant, on one of a few quiet scenes. The
//! light always comes from the upper left; every solid has a lit face, a face in shade and an
//! edge that catches the light, so that 400 pictures look as if one hand had made them.

mod instruments;
mod kitchen;
mod lamps;
mod palette;
mod pen;
mod scene;
mod shore;
mod textiles;
mod workshop;

use std::fmt::Write;

use palette::{Ground, Tone, ground_of};
use pen::Pen;
use scene::Stance;

use crate::make::capital;
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

impl Drawing {
    fn draw(self, pen: &mut Pen) {
        match self {
            Self::ChartRoll => instruments::chart_roll(pen),
            Self::FoldedMap => instruments::folded_map(pen),
            Self::Logbook => instruments::logbook(pen),
            Self::Compass => instruments::compass(pen),
            Self::DeskCompass => instruments::desk_compass(pen),
            Self::BearingCompass => instruments::bearing_compass(pen),
            Self::Telescope => instruments::telescope(pen),
            Self::Binoculars => instruments::binoculars(pen),
            Self::Magnifier => instruments::magnifier(pen),
            Self::Barometer => instruments::barometer(pen),
            Self::TideClock => instruments::tide_clock(pen),
            Self::Hourglass => instruments::hourglass(pen),
            Self::StormLantern => lamps::storm_lantern(pen),
            Self::DeckLantern => lamps::deck_lantern(pen),
            Self::BoxLantern => lamps::box_lantern(pen),
            Self::TableLamp => lamps::table_lamp(pen),
            Self::DomeLamp => lamps::dome_lamp(pen),
            Self::ArmLamp => lamps::arm_lamp(pen),
            Self::Pendant => lamps::pendant(pen),
            Self::GlobePendant => lamps::globe_pendant(pen),
            Self::WillowPendant => lamps::willow_pendant(pen),
            Self::Chamberstick => lamps::chamberstick(pen),
            Self::Pillars => lamps::pillars(pen),
            Self::CandleTin => lamps::candle_tin(pen),
            Self::Teapot => kitchen::teapot(pen),
            Self::TallPot => kitchen::tall_pot(pen),
            Self::Caddy => kitchen::caddy(pen),
            Self::Mug => kitchen::mug(pen),
            Self::Cup => kitchen::cup(pen),
            Self::CampMug => kitchen::camp_mug(pen),
            Self::Kettle => kitchen::kettle(pen),
            Self::Saucepan => kitchen::saucepan(pen),
            Self::StewPot => kitchen::stew_pot(pen),
            Self::Jar => kitchen::jar(pen),
            Self::Board => kitchen::board(pen),
            Self::Crock => kitchen::crock(pen),
            Self::Blanket => textiles::blanket(pen),
            Self::RolledBlanket => textiles::rolled_blanket(pen),
            Self::Quilt => textiles::quilt(pen),
            Self::Jumper => textiles::jumper(pen),
            Self::Scarf => textiles::scarf(pen),
            Self::Beanie => textiles::beanie(pen),
            Self::Cushion => textiles::cushion(pen),
            Self::Bolster => textiles::bolster(pen),
            Self::Pouffe => textiles::pouffe(pen),
            Self::Towel => textiles::towel(pen),
            Self::TeaTowel => textiles::tea_towel(pen),
            Self::Apron => textiles::apron(pen),
            Self::WateringCan => shore::watering_can(pen),
            Self::Mister => shore::mister(pen),
            Self::Bucket => shore::bucket(pen),
            Self::Planter => shore::planter(pen),
            Self::HangingPot => shore::hanging_pot(pen),
            Self::Trough => shore::trough(pen),
            Self::Basket => shore::basket(pen),
            Self::Trug => shore::trug(pen),
            Self::LogBasket => shore::log_basket(pen),
            Self::Kite => shore::kite(pen),
            Self::BucketSpade => shore::bucket_spade(pen),
            Self::DeckChair => shore::deck_chair(pen),
            Self::PocketKnife => workshop::pocket_knife(pen),
            Self::ChefKnife => workshop::chef_knife(pen),
            Self::OysterKnife => workshop::oyster_knife(pen),
            Self::Rope => workshop::rope(pen),
            Self::Twine => workshop::twine(pen),
            Self::SkipRope => workshop::skip_rope(pen),
            Self::Mallet => workshop::mallet(pen),
            Self::Plane => workshop::plane(pen),
            Self::Brush => workshop::brush(pen),
            Self::ToolBox => workshop::tool_box(pen),
            Self::Tote => workshop::tote(pen),
            Self::Knapsack => workshop::knapsack(pen),
        }
    }

    fn stance(self) -> Stance {
        match self {
            Self::Telescope
            | Self::Magnifier
            | Self::Barometer
            | Self::Pendant
            | Self::GlobePendant
            | Self::WillowPendant
            | Self::Jumper
            | Self::Scarf
            | Self::Towel
            | Self::Apron
            | Self::HangingPot
            | Self::Kite
            | Self::PocketKnife
            | Self::ChefKnife
            | Self::OysterKnife
            | Self::SkipRope
            | Self::Mallet
            | Self::Brush => Stance::Hangs,
            _ => Stance::Stands,
        }
    }
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
        let (stem, version) = name.rsplit_once("-v")?;
        Self::parse_stem(stem).filter(|_| version == VERSION.to_string())
    }

    /// The name without version, for a database that outlives a version of the drawings.
    pub fn stem(&self) -> String {
        let name = self.name();
        name.rsplit_once("-v").map(|(stem, _)| stem.to_owned()).unwrap_or(name)
    }

    /// The reverse of [`ArtSpec::stem`].
    pub fn parse_stem(rest: &str) -> Option<Self> {
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
        (digits.len() == 3).then_some(spec)
    }

    /// The scene it stands in: `Ground` and the number of the backdrop.
    fn ground(&self) -> &'static Ground {
        ground_of(self.colour as usize, self.ground)
    }

    /// What it shows, in words.
    pub fn title(&self) -> String {
        let (kind, colour) = (&KINDS[self.kind as usize], &COLOURS[self.colour as usize]);
        format!("{}, {}", capital(kind.name.en), colour.name.en)
    }

    /// Draws it.
    pub fn svg(&self) -> String {
        let colour = &COLOURS[self.colour as usize];
        let drawing = KINDS[self.kind as usize].drawing;
        let ground = self.ground();
        let mut pen = Pen::new(
            Tone::of(colour),
            Tone::of(&COLOURS[colour.friend]),
            self.pattern,
            ground.shadow_for(drawing.stance()),
        );
        drawing.draw(&mut pen);
        let (defs, body) = pen.finish();
        let mut out = String::with_capacity(defs.len() + body.len() + 1200);
        let title = self.title();
        let _ = write!(
            out,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 480 480\" role=\"img\"><title>{title}</title>"
        );
        if !defs.is_empty() {
            let _ = write!(out, "<defs>{defs}</defs>");
        }
        scene::backdrop(&mut out, ground, drawing.stance(), self.scene);
        out.push_str(&body);
        out.push_str("</svg>\n");
        out
    }
}

/// Draws the picture called `name` (without `.svg`), when there is one.
pub fn art_named(name: &str) -> Option<String> {
    ArtSpec::parse(name).map(|spec| spec.svg())
}

#[cfg(test)]
mod tests {
    use super::*;
    use palette::luminance;

    fn every_spec() -> impl Iterator<Item = ArtSpec> {
        (0..KINDS.len()).flat_map(|kind| {
            let mut colours: Vec<usize> = KINDS[kind].colours.to_vec();
            colours.extend(KINDS[kind].materials.iter().map(|m| m.natural));
            colours.sort_unstable();
            colours.dedup();
            colours.into_iter().flat_map(move |colour| {
                (0..15u8).map(move |i| ArtSpec {
                    kind: kind as u8,
                    colour: colour as u8,
                    ground: i % 3,
                    scene: i / 3,
                    pattern: i % 5,
                })
            })
        })
    }

    /// Start and end tags match and every attribute is quoted: enough for our own output.
    fn check_markup(svg: &str) -> Result<(), String> {
        let mut open: Vec<&str> = Vec::new();
        for piece in svg.split('<').skip(1) {
            let (tag, text) = piece.split_once('>').ok_or("a tag without end")?;
            if text.contains('&') || tag.matches('"').count() % 2 == 1 {
                return Err(format!("text or quotes at <{tag}>"));
            }
            if let Some(name) = tag.strip_prefix('/') {
                (open.pop() == Some(name))
                    .then_some(())
                    .ok_or(format!("</{name}> closes nothing"))?;
            } else if !tag.ends_with('/') {
                open.push(tag.split(' ').next().unwrap_or_default());
            }
        }
        open.is_empty().then_some(()).ok_or(format!("left open: {open:?}"))
    }

    #[test]
    fn pictures_are_small_well_formed_and_refer_to_nothing_outside() {
        for spec in every_spec() {
            let svg = spec.svg();
            let name = spec.name();
            if let Err(problem) = check_markup(&svg) {
                panic!("{name}: {problem}");
            }
            assert!((1_000..6_500).contains(&svg.len()), "{name}: {} bytes", svg.len());
            assert!(svg.contains("<title>"), "{name} has no title");
            let rest = svg.replacen("http://www.w3.org/2000/svg", "", 1);
            for word in ["http", "script", "<image", "foreignObject", "style=", " on", "NaN", "--"]
            {
                assert!(!rest.contains(word), "{name} contains {word}");
            }
        }
    }

    #[test]
    fn a_name_says_all_that_is_drawn() {
        for spec in every_spec() {
            assert_eq!(ArtSpec::parse(&spec.name()), Some(spec));
        }
        for bad in [
            "",
            "mug",
            "mug-coral-000",
            "mug-coral-000-v0",
            "mug-coral-300-v1",
            "mug-coral-0000-v1",
            "mug-coral-05é-v1",
            "mug-mauve-000-v1",
            "-coral-000-v1",
        ] {
            assert_eq!(ArtSpec::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn things_stand_out_from_their_backdrop() {
        for (colour, c) in COLOURS.iter().enumerate() {
            for choice in 0..3 {
                let ground = ground_of(colour, choice);
                for behind in [ground.wall, ground.shape] {
                    let (a, b) = (luminance(c.base), luminance(behind));
                    let contrast = (a.max(b) + 0.05) / (a.min(b) + 0.05);
                    assert!(contrast >= 1.3, "{} on {behind:06x}: {contrast:.2}", c.slug);
                }
            }
        }
    }

    /// Pictures are cached for ever under names that carry [`VERSION`].
    #[test]
    fn changed_pictures_have_a_new_version() {
        let mut sum = 0xcbf2_9ce4_8422_2325u64;
        for byte in every_spec().flat_map(|spec| spec.svg().into_bytes()) {
            sum = (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        assert_eq!(
            (VERSION, sum),
            (1, 6_456_476_308_548_390_850),
            "a drawing changed: raise VERSION and note the new sum here"
        );
    }
}
