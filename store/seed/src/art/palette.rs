//! Colours that do not depend on the variant, and the scenes things are shown in.

use super::scene::Stance;
use crate::words::colours::{COLOURS, Colour};

/// One material colour under our light: lit, away from the light, catching the light.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tone {
    pub(super) base: u32,
    pub(super) dark: u32,
    pub(super) light: u32,
}

const fn tone(base: u32, dark: u32, light: u32) -> Tone {
    Tone { base, dark, light }
}

pub(super) const BRASS: Tone = tone(0xd8a84a, 0xa97c2b, 0xf3d48f);
pub(super) const WOOD: Tone = tone(0xc99a66, 0xa67a49, 0xe3c096);
pub(super) const DARK_WOOD: Tone = tone(0x8a5d3d, 0x68432a, 0xb08561);
pub(super) const STEEL: Tone = tone(0xb4c0c6, 0x8796a0, 0xe0e7ea);
pub(super) const IRON: Tone = tone(0x4b5a63, 0x36434b, 0x7b8a93);
pub(super) const CREAM: Tone = tone(0xfaf3e3, 0xe3d6bb, 0xffffff);
pub(super) const INK: Tone = tone(0x27485c, 0x1a3242, 0x4a7085);
pub(super) const GLASS: Tone = tone(0xd4e7e6, 0xaccccd, 0xf4fbfa);
pub(super) const LEAF: Tone = tone(0x66955d, 0x487546, 0x97bd87);
pub(super) const FLAME: Tone = tone(0xffd166, 0xf2a541, 0xfff3c4);
pub(super) const CORD: Tone = tone(0xdcc59a, 0xb99e6c, 0xf0e0bf);
pub(super) const RED: u32 = 0xd8563f;

impl Tone {
    pub(super) fn of(colour: &Colour) -> Self {
        tone(colour.base, colour.dark, colour.light)
    }

    /// Too pale for white decoration.
    pub(super) fn is_pale(self) -> bool {
        luminance(self.base) > 0.5
    }
}

/// A backdrop: the wall, the large shape on it, the table, and shadow on the table.
pub(super) struct Ground {
    pub(super) wall: u32,
    pub(super) shape: u32,
    pub(super) table: u32,
    pub(super) shadow: u32,
}

impl Ground {
    /// Shadow falls on the table, or on the wall behind what hangs.
    pub(super) fn shadow_for(&self, stance: Stance) -> u32 {
        match stance {
            Stance::Stands => self.shadow,
            Stance::Hangs => self.table,
        }
    }
}

const fn ground(wall: u32, shape: u32, table: u32, shadow: u32) -> Ground {
    Ground { wall, shape, table, shadow }
}

/// Sand, mist, blush, butter, sage, sky; three of evening; lilac. The numbers in
/// [`Colour::grounds`] count from 0.
pub(super) const GROUNDS: [Ground; 10] = [
    ground(0xf5ead9, 0xecd9bb, 0xe3c8a0, 0xc9a877),
    ground(0xe0edec, 0xc8dfdd, 0xb0cfcd, 0x8fb5b4),
    ground(0xf9e6dc, 0xf3cfbd, 0xe9b9a2, 0xcf9980),
    ground(0xfcf2d7, 0xf6e0a9, 0xecce88, 0xd0ad61),
    ground(0xe7eee0, 0xd0dec5, 0xb9cdab, 0x98b089),
    ground(0xe2ecf4, 0xc9dbea, 0xb1c9de, 0x8faac4),
    ground(0x2e5561, 0x3d6975, 0x234650, 0x18353d),
    ground(0x3c5878, 0x4d6b8c, 0x2f4863, 0x22374e),
    ground(0x4a6350, 0x5b7861, 0x3b5141, 0x2b3d31),
    ground(0xece4f0, 0xd9cae1, 0xc5b2cf, 0xa691b3),
];

pub(super) fn ground_of(colour: usize, choice: u8) -> &'static Ground {
    &GROUNDS[COLOURS[colour].grounds[choice as usize % 3]]
}

pub(super) fn hex(colour: u32) -> String {
    format!("#{colour:06x}")
}

/// Relative luminance as WCAG defines it, close enough for choosing and testing.
pub(super) fn luminance(colour: u32) -> f64 {
    let channel = |shift: u32| {
        let c = f64::from((colour >> shift) & 0xff) / 255.0;
        if c <= 0.04045 { c / 12.92 } else { ((c + 0.055) / 1.055).powf(2.4) }
    };
    0.2126 * channel(16) + 0.7152 * channel(8) + 0.0722 * channel(0)
}
