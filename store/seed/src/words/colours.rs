//! The colours things are dyed, glazed or painted in, with the shades the illustrations use.

use super::{Both, b};

#[derive(Debug)]
pub(crate) struct Colour {
    /// In skus.
    pub(crate) code: &'static str,
    /// In file names.
    pub(crate) slug: &'static str,
    pub(crate) name: Both,
    /// The lit face, the face away from the light, and the edge that catches it.
    pub(crate) base: u32,
    pub(crate) dark: u32,
    pub(crate) light: u32,
    /// A colour that sits well beside it: index into [`COLOURS`].
    pub(crate) friend: usize,
    /// Backgrounds it stands out from: indexes into the scene palettes of the art.
    pub(crate) grounds: [usize; 3],
}

#[expect(clippy::too_many_arguments, reason = "one row of a table")]
const fn c(
    code: &'static str,
    slug: &'static str,
    name: Both,
    base: u32,
    dark: u32,
    light: u32,
    friend: usize,
    grounds: [usize; 3],
) -> Colour {
    Colour { code, slug, name, base, dark, light, friend, grounds }
}

pub(crate) const CORAL: usize = 0;
pub(crate) const INK: usize = 1;
pub(crate) const KELP: usize = 2;
pub(crate) const FOAM: usize = 3;
pub(crate) const OCHRE: usize = 4;
pub(crate) const SLATE: usize = 5;
pub(crate) const HEATHER: usize = 6;
pub(crate) const LAGOON: usize = 7;
pub(crate) const BRICK: usize = 8;
pub(crate) const THRIFT: usize = 9;
pub(crate) const BRASS: usize = 10;
pub(crate) const OAK: usize = 11;
pub(crate) const STEEL: usize = 12;
pub(crate) const STRAW: usize = 13;
pub(crate) const WALNUT: usize = 14;
pub(crate) const COPPER: usize = 15;

pub(crate) const COLOURS: [Colour; 16] = [
    c("COR", "coral", b("coral", "corail"), 0xe2694e, 0xc04c38, 0xf29a80, INK, [0, 1, 4]),
    c("INK", "ink", b("ink", "encre"), 0x27485c, 0x1a3242, 0x4a7085, OCHRE, [0, 3, 5]),
    c("KEL", "kelp", b("kelp", "varech"), 0x4d7a58, 0x376043, 0x7ba583, OCHRE, [0, 2, 3]),
    c("FOA", "foam", b("foam", "écume"), 0xf6efe0, 0xdccfb8, 0xfffaf0, LAGOON, [6, 7, 8]),
    c("OCH", "ochre", b("ochre", "ocre"), 0xdf9f33, 0xbb7d1f, 0xf3c673, INK, [1, 4, 9]),
    c("SLA", "slate", b("slate", "ardoise"), 0x5f7480, 0x475a66, 0x8ea2ac, CORAL, [0, 2, 3]),
    c("HEA", "heather", b("heather", "bruyère"), 0x8d6a92, 0x6f4f75, 0xb394b6, OCHRE, [0, 1, 3]),
    c("LAG", "lagoon", b("lagoon", "lagon"), 0x2f8a8d, 0x1f6c70, 0x66b3b1, FOAM, [0, 2, 3]),
    c("BRI", "brick", b("brick", "brique"), 0xa94a35, 0x873625, 0xcf7a62, FOAM, [0, 1, 5]),
    c(
        "THR",
        "thrift",
        b("thrift pink", "rose des dunes"),
        0xd98a98,
        0xb96b7b,
        0xefb6bf,
        INK,
        [6, 1, 9],
    ),
    c("BRA", "brass", b("brass", "laiton"), 0xd3a040, 0xa87a28, 0xf0cd83, INK, [1, 7, 9]),
    c("OAK", "oak", b("oak", "chêne"), 0xc99a66, 0xa67a49, 0xe3c096, KELP, [1, 7, 9]),
    c("STE", "steel", b("steel", "acier"), 0x8b9aa3, 0x6b7a84, 0xbcc8ce, BRICK, [0, 4, 9]),
    c("STR", "straw", b("straw", "paille"), 0xd9b878, 0xb89455, 0xeed7a6, BRICK, [1, 7, 8]),
    c("WAL", "walnut", b("walnut", "noyer"), 0x7d5438, 0x603d27, 0xa67c5b, OCHRE, [0, 2, 4]),
    c("COP", "copper", b("copper", "cuivre"), 0xc9764a, 0xa35a33, 0xe6a37f, INK, [1, 4, 9]),
];
