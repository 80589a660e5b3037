//! The backdrops: a table before a wall, or a wall alone for things that hang or lie flat.

use std::fmt::Write;

use super::palette::{Ground, hex};

/// How a thing is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stance {
    /// On the table.
    Stands,
    /// Before the wall, or flat on a cloth.
    Hangs,
}

pub(super) fn backdrop(out: &mut String, ground: &Ground, stance: Stance, scene: u8) {
    let (wall, shape, table) = (hex(ground.wall), hex(ground.shape), hex(ground.table));
    let _ = write!(out, "<path d=\"M0 0h480v480H0z\" fill=\"{wall}\"/>");
    let _ = match (scene, stance) {
        // A large low sun.
        (0, _) => write!(
            out,
            "<circle cx=\"240\" cy=\"{}\" r=\"168\" fill=\"{shape}\"/>",
            if stance == Stance::Stands { 222 } else { 240 }
        ),
        // An arched window.
        (1, Stance::Stands) => {
            write!(out, "<path d=\"M96 400V224a144 144 0 0 1 288 0v176z\" fill=\"{shape}\"/>")
        }
        (1, Stance::Hangs) => {
            write!(out, "<path d=\"M84 480V208a156 156 0 0 1 312 0v272z\" fill=\"{shape}\"/>")
        }
        // Islands on the horizon, under a small sun.
        (2, _) => write!(
            out,
            "<circle cx=\"112\" cy=\"112\" r=\"38\" fill=\"{shape}\"/><path d=\"M0 352v-44c40-10 62-54 108-54 52 0 74 46 132 50 36 3 58-30 98-30 48 0 76 34 142 30v176H0z\" fill=\"{shape}\"/>"
        ),
        // Long swell.
        (3, _) => write!(
            out,
            "<path d=\"M0 214q60-40 120 0t120 0 120 0 120 0v266H0z\" fill=\"{shape}\" opacity=\".6\"/><path d=\"M0 286q60-36 120 0t120 0 120 0 120 0v194H0z\" fill=\"{shape}\"/>"
        ),
        // Light from a window, fallen on the wall.
        _ => write!(
            out,
            "<path d=\"M70 0h150l228 480H238zM250 0h120l228 480H430z\" fill=\"{shape}\" opacity=\".8\"/>"
        ),
    };
    if stance == Stance::Stands {
        let _ = write!(
            out,
            "<path d=\"M0 352h480v128H0z\" fill=\"{table}\"/><path d=\"M0 352h480v5H0z\" fill=\"#fff\" opacity=\".14\"/>"
        );
    }
}
