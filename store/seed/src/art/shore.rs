//! Garden & shore.

use super::palette::{BRASS, CORD, CREAM, DARK_WOOD, INK, LEAF, RED, STEEL, Tone, WOOD};
use super::pen::{Pen, drum, oval, slab, taper};

const SAND: Tone = Tone { base: 0xe9c98d, dark: 0xcda968, light: 0xf7e2b6 };

/// A leaf from `(x, y)`: a pointed shape turned by `angle`, half of it in shade.
fn leaf(p: &mut Pen, x: i32, y: i32, angle: i32, length: i32, tone: Tone) {
    let wide = length / 3;
    p.group(&format!("translate({x} {y}) rotate({angle})"), |p| {
        p.flat(
            &format!(
                "M0 0C-{wide}-{} -{wide}-{} 0-{length} {wide}-{} {wide}-{} 0 0z",
                length / 3,
                length * 2 / 3,
                length * 2 / 3,
                length / 3
            ),
            tone.base,
        );
        p.flat(
            &format!("M0 0C{wide}-{} {wide}-{} 0-{length}z", length / 3, length * 2 / 3),
            tone.dark,
        );
    });
}

pub(super) fn watering_can(p: &mut Pen) {
    p.stands(250, 112);
    let main = p.main;
    p.line("M196 206C200 110 330 110 342 214", main.dark, 13.0);
    p.line("M195 203C199 108 327 106 339 211", main.base, 8.0);
    p.line("M346 240c66 0 66 112-6 122", main.dark, 15.0);
    p.line("M346 238c62 0 60 108-6 118", main.base, 9.0);
    p.solid("M176 350 84 204l22-12 90 96z", main);
    p.group("rotate(-32 92 196)", |p| {
        p.solid("M74 188h36l14-30H60z", main);
        p.flat(&oval(92, 157, 34, 11), main.light);
        p.line("M74 157h0M92 153h0M110 157h0M84 160h0M100 160h0", main.dark, 5.0);
    });
    p.line("M176 268l-42-10", main.dark, 7.0);
    p.cloth(&drum(258, 90, 210, 398, 20), 24);
    p.flat(&oval(258, 210, 90, 20), main.light);
    p.flat("M178 212a80 15 0 0 1 160 0 80 15 0 0 1-160 0z", main.dark);
    p.line("M168 370a90 20 0 0 0 180 0", main.dark, 5.0);
    p.shine("M186 246v104", 9.0);
}

pub(super) fn mister(p: &mut Pen) {
    p.stands(246, 84);
    let main = p.main;
    p.line("M146 132h0M118 112h0M122 150h0M92 130h0M96 164h0M88 98h0", 0xffffff, 8.0);
    p.solid_with("M214 196h64c4 26 54 44 54 108v50c0 22-12 34-34 34H194c-22 0-34-12-34-34v-50c0-64 50-82 54-108z", main, 22, |p| {
        p.veil("M150 316q48-12 96 0t96 0v80H150z", 0xffffff, 0.28);
    });
    p.line("M246 196v170", CREAM.dark, 5.0);
    p.solid(&slab(206, 164, 80, 36, 8), BRASS);
    p.solid("M226 118h50v50h-50z", BRASS);
    p.solid("M166 116h120c16 0 22 10 22 26h-76l-8-10h-58z", BRASS);
    p.solid("M292 142h20c10 24 6 48-14 66l-14-8c12-18 14-34 8-58z", BRASS);
    p.shine("M182 296c4-26 14-42 30-58", 10.0);
}

fn pail(p: &mut Pen, x: i32, half: i32, top: i32) {
    let main = p.main;
    p.cloth(&taper(x, half, top, half * 7 / 10, 398, 18), 22);
    p.flat(&oval(x, top, half, half / 5), main.light);
    p.flat(&oval(x, top + 2, half - 9, half / 5 - 4), main.dark);
    p.solid(&oval(x - half + 6, top + 8, 10, 12), STEEL);
    p.solid(&oval(x + half - 6, top + 8, 10, 12), STEEL);
}

pub(super) fn bucket(p: &mut Pen) {
    p.stands(240, 96);
    p.line("M122 214C110 60 370 60 358 214", STEEL.dark, 7.0);
    p.line("M208 101c20-6 44-6 64 0", WOOD.dark, 24.0);
    p.line("M208 98c20-6 42-6 60-1", WOOD.base, 17.0);
    pail(p, 240, 122, 208);
    let main = p.main;
    p.line("M136 262q104 26 208 0M146 330q94 22 188 0", main.dark, 4.0);
    p.shine("M144 246l16 108", 9.0);
}

pub(super) fn planter(p: &mut Pen) {
    p.stands(240, 100);
    let main = p.main;
    let shapes: [&[(i32, i32, i32)]; 2] = [
        &[
            (-52, 118, 0),
            (48, 120, 1),
            (-24, 148, 1),
            (22, 150, 0),
            (-78, 82, 1),
            (76, 84, 0),
            (0, 164, 0),
        ],
        &[(-66, 104, 1), (66, 100, 0), (-40, 136, 0), (40, 132, 1), (-12, 160, 1), (14, 166, 0)],
    ];
    for &(angle, length, shade) in shapes[p.pattern as usize % 2] {
        let tone = if shade == 1 { DEEP_LEAF } else { LEAF };
        leaf(p, 240 + angle / 4, 236, angle, length, tone);
    }
    if p.pattern > 2 {
        for (x, y) in [(240, 84), (196, 112), (286, 112)] {
            p.flat(&oval(x, y, 17, 17), RED);
            p.flat(&oval(x, y, 7, 7), 0xffd166);
        }
    }
    p.cloth(&taper(240, 92, 262, 70, 384, 16), 22);
    p.solid(&slab(136, 226, 208, 44, 10), main);
    p.solid("M150 374h180l-12 16H162z", main);
    p.flat("M136 268h208v5H136z", main.dark);
    p.shine("M156 240h60", 7.0);
}

const DEEP_LEAF: Tone = Tone { base: 0x487546, dark: 0x365c37, light: 0x66955d };

pub(super) fn hanging_pot(p: &mut Pen) {
    let main = p.main;
    let bowl = "M134 242h212c0 70-40 112-106 112s-106-42-106-112z";
    p.casts(bowl);
    p.line("M240 0v66", CORD.dark, 6.0);
    p.solid(&oval(240, 70, 11, 16), CORD);
    p.line("M240 80 140 246M240 80v160M240 80l100 166", CORD.base, 5.0);
    for &(x, angle, length, deep) in &[
        (196, -40, 76, 0),
        (280, 38, 78, 1),
        (240, -8, 92, 1),
        (220, -66, 66, 1),
        (262, 66, 64, 0),
        (250, 18, 84, 0),
    ] {
        leaf(p, x, 244, angle, length, if deep == 1 { DEEP_LEAF } else { LEAF });
    }
    p.cloth(bowl, 22);
    p.flat("M134 242h212v12H134z", main.light);
    for (x, drop) in [(146, 150), (178, 96), (318, 128), (342, 72)] {
        p.line(&format!("M{x} 240c-10 40 8 {} -2 {drop}", drop / 2), DEEP_LEAF.base, 5.0);
        for step in 1..=(drop / 26) {
            let side = if step % 2 == 0 { 62 } else { -62 };
            leaf(
                p,
                x - 1,
                244 + step * 26,
                180 + side,
                26,
                if step % 2 == 0 { LEAF } else { DEEP_LEAF },
            );
        }
    }
    p.shine("M158 272c6 24 20 42 40 54", 8.0);
}

pub(super) fn trough(p: &mut Pen) {
    p.stands(240, 152);
    let main = p.main;
    for (i, x) in [116, 178, 240, 302, 364].into_iter().enumerate() {
        let tone = if i % 2 == 0 { LEAF } else { DEEP_LEAF };
        if i % 3 == 1 {
            for (dx, top) in [(-18, 176), (-6, 150), (8, 164), (20, 184)] {
                p.line(
                    &format!("M{} 270q{} -60 {} {}", x + dx / 2, dx / 3, dx, top - 270),
                    tone.base,
                    6.0,
                );
                p.flat(&oval(x + dx / 2 + dx, top, 8, 10), 0xa58cc0);
            }
        } else {
            for (angle, length) in [(-46, 74), (44, 76), (-16, 104), (18, 98)] {
                leaf(p, x, 270, angle, length, tone);
            }
        }
    }
    p.cloth("M78 262h324l-16 126H94z", 20);
    p.solid(&slab(68, 248, 344, 30, 8), main);
    p.flat("M70 276h340v5H70z", main.dark);
    p.shine("M90 262h80", 6.0);
}

/// Rows of weaving between two heights, following the belly of a basket.
fn weave(p: &mut Pen, x: i32, half: i32, top: i32, foot: i32, tone: Tone) {
    let mut dark = String::new();
    let mut light = String::new();
    for (row, y) in (top..foot).step_by(20).enumerate() {
        let shift = if row % 2 == 0 { 0 } else { 17 };
        let d = if row % 2 == 0 { &mut dark } else { &mut light };
        for column in 0..(2 * half / 34 + 2) {
            d.push_str(&format!("M{} {y}q10-9 20 0", x - half - 17 + shift + column * 34));
        }
    }
    p.line(&dark, tone.dark, 6.0);
    p.line(&light, tone.light, 6.0);
}

pub(super) fn basket(p: &mut Pen) {
    p.stands(240, 116);
    let main = p.main;
    p.line("M132 256C130 60 350 60 348 256", main.dark, 17.0);
    p.line("M132 250C130 60 346 58 344 250", main.base, 10.0);
    p.line("M196 118c20-14 68-14 88 0", DARK_WOOD.base, 19.0);
    p.flat(&oval(240, 246, 126, 22), main.dark);
    p.solid_with("M112 248h256c2 84-22 140-64 140H176c-42 0-66-56-64-140z", main, 22, |p| {
        weave(p, 240, 134, 272, 400, main)
    });
    p.solid(&slab(104, 236, 272, 26, 13), main);
    p.line("M122 240l12 18M152 240l12 18M182 240l12 18M212 240l12 18M242 240l12 18M272 240l12 18M302 240l12 18M332 240l12 18", main.dark, 4.0);
}

pub(super) fn trug(p: &mut Pen) {
    p.stands(240, 128);
    let main = p.main;
    p.line("M240 360C120 330 150 96 240 96s120 234 0 264", main.dark, 14.0);
    p.line("M238 356C124 326 152 98 238 96", main.base, 9.0);
    for &(x, y, colour) in &[
        (150, 226, RED),
        (196, 206, 0xf2c14e),
        (292, 210, 0xd98a98),
        (336, 232, 0xf2c14e),
        (246, 222, RED),
    ] {
        p.line(&format!("M{x} {y}q20 40 70 60"), DEEP_LEAF.base, 5.0);
        p.flat(&oval(x, y, 22, 22), colour);
        p.flat(&oval(x, y, 9, 9), CREAM.base);
    }
    leaf(p, 176, 276, -70, 62, LEAF);
    leaf(p, 310, 276, 68, 62, DEEP_LEAF);
    p.solid_with(
        "M72 252c20 92 84 132 168 132s148-40 168-132c-50 26-286 26-336 0z",
        main,
        20,
        |p| {
            p.line(
                "M80 290c60 40 260 40 320 0M100 326c60 36 220 36 280 0M138 358c50 24 154 24 204 0",
                main.dark,
                4.0,
            );
            p.line("M240 260v130", main.dark, 24.0);
            p.line("M236 260v130", main.light, 14.0);
        },
    );
    p.line("M236 290h0M236 326h0M236 360h0", 0xa35a33, 9.0);
    p.solid("M160 376h30l-6 14h-18zM290 376h30l-6 14h-18z", main);
    p.shine("M96 278c14 30 34 52 58 66", 8.0);
}

pub(super) fn log_basket(p: &mut Pen) {
    p.stands(240, 116);
    let main = p.main;
    for &(x, y, angle) in &[(176, 190, -14), (300, 186, 12), (240, 160, -2)] {
        p.group(&format!("rotate({angle} {x} {y})"), |p| {
            p.solid(&format!("M{} {y}v120h64v-120z", x - 32), DARK_WOOD);
            p.solid(&oval(x, y, 32, 22), WOOD);
            p.line(
                &format!("M{} {y}a16 10 0 1 1 32 0 16 10 0 1 1-32 0M{} {y}h12", x - 16, x - 6),
                WOOD.dark,
                3.0,
            );
        });
    }
    p.line("M118 262c-44-40-44 44-4 44M362 262c44-40 44 44 4 44", main.dark, 13.0);
    p.solid_with("M112 232h256l-18 156H130z", main, 22, |p| weave(p, 240, 134, 262, 400, main));
    p.solid(&slab(100, 220, 280, 28, 14), main);
    p.line("M120 225l12 18M150 225l12 18M180 225l12 18M210 225l12 18M240 225l12 18M270 225l12 18M300 225l12 18M330 225l12 18", main.dark, 4.0);
    p.line("M130 360h220", main.dark, 7.0);
}

pub(super) fn kite(p: &mut Pen) {
    let (main, mate) = (p.main, p.mate);
    p.veil("M54 104c10-24 44-24 54-4 20-10 40 4 36 22H48c-12 0-12-18 6-18zM330 392c10-24 44-24 54-4 20-10 40 4 36 22h-96c-12 0-12-18 6-18z", 0xffffff, 0.6);
    p.casts("M262 52 384 186 222 330 136 158z");
    p.line("M222 330c-6 40 40 40 30 76s-60 20-60 74", INK.base, 4.0);
    for (x, y, turn) in [(236, 362, 30), (252, 404, -30), (212, 438, 40)] {
        p.group(&format!("translate({x} {y}) rotate({turn})"), |p| {
            p.flat("M0 0-24-12v24zM0 0l24-12v24z", mate.base);
            p.flat("M0 0-24-12V0zM0 0l24-12V0z", mate.light);
        });
    }
    p.cloth("M262 52 384 186 222 330 136 158z", 0);
    p.veil("M262 52 384 186 222 330z", main.dark, 0.55);
    p.solid("M262 52 384 186l-133-12z", mate);
    p.flat("M136 158l115 16-29 156z", main.light);
    p.line("M262 52 222 330M136 158l248 28", INK.base, 5.0);
}

pub(super) fn bucket_spade(p: &mut Pen) {
    p.stands(214, 118);
    p.solid("M300 388c4-40 26-66 46-66 22 0 44 28 52 66z", SAND);
    p.group("rotate(14 350 240)", |p| {
        p.bar("M350 120v160", WOOD, 13.0);
        p.bar("M328 116h44", WOOD, 15.0);
        let mate = p.mate;
        p.solid("M318 262h64v70c0 24-14 38-32 52-18-14-32-28-32-52z", mate);
    });
    p.solid("M296 388c10-24 30-40 52-40s46 16 56 40z", SAND);
    p.line("M116 226C106 96 312 96 302 226", STEEL.dark, 7.0);
    pail(p, 209, 98, 220);
    let main = p.main;
    p.group("translate(204 308)", |p| {
        let star = "M0-34 9-11 33-11 14 5 21 29 0 15-21 29-14 5-33-11-9-11z";
        p.flat(star, if main.is_pale() { p.mate.base } else { CREAM.base });
    });
    p.shine("M132 258l14 90", 8.0);
}

pub(super) fn deck_chair(p: &mut Pen) {
    p.stands(250, 138);
    let (main, mate) = (p.main, p.mate);
    let stripe = if main.is_pale() { mate.base } else { CREAM.base };
    p.bar("M372 168 196 388", WOOD, 13.0);
    p.bar("M150 92l206 296", DARK_WOOD, 14.0);
    p.solid_with(
        "M112 96l76-14c20 110 60 180 176 196l-4 60C210 330 130 240 112 96z",
        main,
        16,
        |p| {
            p.line("M134 80c18 140 80 234 236 250M158 80c20 120 70 200 210 222", stripe, 12.0);
        },
    );
    p.bar("M104 98l92-18", WOOD, 15.0);
    p.bar("M362 270l-6 74", WOOD, 15.0);
    p.bar("M118 100l206 288", WOOD, 14.0);
    p.bar("M388 184 128 388", WOOD, 13.0);
    p.shine("M134 130c10 50 30 94 58 128", 7.0);
}
