//! Lamps and candles. Whatever burns has a glow of its own, and it is always the same gold.

use super::palette::{BRASS, CREAM, FLAME, INK, IRON, STEEL, Tone, WOOD};
use super::pen::{Pen, drum, oval, slab};

fn flame(p: &mut Pen, x: i32, y: i32, size: i32) {
    let drop = |s: i32| {
        format!(
            "M{x} {}c{} {} {} {} 0 {s}c-{} -{} -{} -{} 0-{s}z",
            y - s,
            s / 2,
            s / 2,
            s / 2,
            s,
            s / 2,
            0,
            s / 2,
            s / 2
        )
    };
    p.glow(x, y - size / 2, size * 3 / 2);
    p.flat(&drop(size), FLAME.dark);
    p.flat(&drop(size * 7 / 10), FLAME.base);
    p.flat(&drop(size * 4 / 10), FLAME.light);
}

pub(super) fn storm_lantern(p: &mut Pen) {
    p.stands(240, 92);
    let main = p.main;
    p.line("M150 250C120 90 360 90 330 250", main.dark, 8.0);
    p.bar("M160 346V188c0-18 10-24 24-24M320 346V188c0-18-10-24-24-24", main, 12.0);
    p.glow(240, 236, 126);
    let globe = "M206 178h68c34 28 34 92 0 122h-68c-34-30-34-94 0-122z";
    p.solid_with(globe, Tone { base: 0xfdf0c4, dark: 0xeed892, light: 0xffffff }, 12, |p| {
        flame(p, 240, 290, 62)
    });
    p.line("M188 238h104M240 178v-8", main.dark, 4.0);
    p.shine("M198 206c-12 22-10 52 2 70", 8.0);
    p.solid("M196 178l10-38h68l10 38z", main);
    p.solid(&slab(214, 112, 52, 34, 8), main);
    p.line("M226 130h28", main.dark, 4.0);
    p.solid(&slab(196, 298, 88, 26, 8), main);
    p.cloth("M176 320h128c16 0 26 10 28 26l4 42H144l4-42c2-16 12-26 28-26z", 16);
    p.solid(&oval(196, 352, 17, 17), BRASS);
    p.line("M284 312h22v12", IRON.base, 5.0);
    p.flat("M140 378h200v10H140z", main.dark);
}

pub(super) fn deck_lantern(p: &mut Pen) {
    p.stands(240, 96);
    let main = p.main;
    p.line("M204 104c0-56 72-56 72 0", main.dark, 9.0);
    p.solid("M186 152c0-38 24-56 54-56s54 18 54 56z", main);
    p.solid(&slab(166, 146, 148, 26, 8), main);
    p.glow(240, 252, 138);
    p.solid_with(
        &slab(176, 170, 128, 166, 26),
        Tone { base: 0xfceebf, dark: 0xecd48c, light: 0xffffff },
        14,
        |p| {
            flame(p, 240, 314, 84);
            p.line("M170 196h140M170 222h140M170 248h140M170 274h140M170 300h140", 0xffffff, 3.0);
        },
    );
    p.shine("M190 196v108", 9.0);
    p.bar("M178 168v170M240 168v170M302 168v170", main, 8.0);
    p.bar("M172 252h136", main, 8.0);
    p.solid(&slab(158, 332, 164, 28, 8), main);
    p.solid("M150 356h180l8 32H142z", main);
    p.flat("M142 380h196v8H142z", main.dark);
}

pub(super) fn box_lantern(p: &mut Pen) {
    p.stands(240, 104);
    let main = p.main;
    p.line("M240 92a24 24 0 1 1 1 0", main.dark, 9.0);
    p.cloth("M240 86 344 166H136z", 18);
    p.solid(&slab(134, 160, 212, 22, 4), main);
    p.glow(240, 270, 146);
    p.solid_with(
        "M152 182h176v180H152z",
        Tone { base: 0xfdf3d2, dark: 0xf0dda6, light: 0xffffff },
        12,
        |p| {
            p.solid(&drum(240, 30, 290, 372, 8), CREAM);
            p.flat(&oval(240, 290, 30, 8), 0xffffff);
            flame(p, 240, 288, 62);
        },
    );
    p.bar("M152 182v178M328 182v178", main, 13.0);
    p.bar("M240 182v60M240 352v8", main, 7.0);
    p.shine("M172 206l30 0-30 46z", 5.0);
    p.solid(&slab(134, 358, 212, 30, 4), main);
    p.flat("M310 266h16v20h-16z", BRASS.base);
}

pub(super) fn table_lamp(p: &mut Pen) {
    p.stands(240, 84);
    let main = p.main;
    p.beam("M150 250h180l60 140H90z");
    p.bar("M240 240v130", WOOD, 20.0);
    p.solid(&oval(240, 292, 20, 24), WOOD);
    p.solid("M160 388c0-24 34-34 80-34s80 10 80 34z", WOOD);
    p.cloth("M186 96h108l64 160c-60 16-176 16-236 0z", 20);
    p.veil("M122 256c60 16 176 16 236 0l-8-20c-60 14-160 14-220 0z", FLAME.base, 0.65);
    p.line("M186 97h108", main.dark, 6.0);
    p.line("M290 262v44", BRASS.base, 3.0);
    p.flat(&oval(290, 310, 6, 6), BRASS.base);
    p.shine("M194 114l-42 108", 9.0);
}

pub(super) fn dome_lamp(p: &mut Pen) {
    p.stands(240, 100);
    let main = p.main;
    p.beam("M110 240h260l24 150H86z");
    p.solid("M208 226h64l22 142c2 12-6 20-18 20h-72c-12 0-20-8-18-20z", main);
    p.solid(&oval(240, 376, 82, 14), main);
    p.flat("M124 234c40 20 192 20 232 0l-10 18c-50 16-162 16-212 0z", FLAME.base);
    p.cloth("M112 236c0-82 54-130 128-130s128 48 128 130c-60 18-196 18-256 0z", 22);
    p.flat("M112 234c60 18 196 18 256 0v6c-60 18-196 18-256 0z", main.light);
    p.shine("M142 200c10-32 32-54 62-64", 10.0);
}

pub(super) fn arm_lamp(p: &mut Pen) {
    p.stands(206, 82);
    let main = p.main;
    p.solid("M124 388c0-22 30-34 80-34s80 12 80 34z", main);
    p.flat("M124 382h160v6H124z", main.dark);
    p.bar("M202 354 150 244", STEEL, 10.0);
    p.bar("M222 352 168 238", STEEL, 6.0);
    p.bar("M156 240 270 136", STEEL, 10.0);
    p.bar("M172 250 284 148", STEEL, 6.0);
    p.solid(&oval(158, 242, 19, 19), main);
    p.solid(&oval(206, 352, 15, 15), main);
    p.beam("M262 236l104-70 84 170-108 70z");
    p.group("rotate(-34 300 170)", |p| {
        p.flat("M250 226h100l14 12H236z", FLAME.base);
        p.cloth("M274 128c0-10 8-16 18-16h16c10 0 18 6 18 16l2 16c26 12 40 42 44 88H228c4-46 18-76 44-88z", 18);
        p.flat("M226 228h148v8H226z", main.light);
        p.shine("M250 206c4-22 12-36 24-46", 8.0);
    });
    p.solid(&oval(277, 142, 15, 15), main);
}

pub(super) fn pendant(p: &mut Pen) {
    let main = p.main;
    p.line("M240 0v150", INK.base, 5.0);
    p.beam("M100 300h280l76 180H24z");
    p.solid(&slab(216, 136, 48, 44, 8), BRASS);
    p.flat(&oval(240, 302, 140, 24), CREAM.base);
    p.flat(&oval(240, 300, 54, 20), FLAME.base);
    p.flat(&oval(240, 304, 34, 26), FLAME.light);
    p.cloth("M98 304c4-84 62-132 142-132s138 48 142 132c-20-32-264-32-284 0z", 22);
    p.line("M98 302c22-30 262-30 284 0", main.light, 6.0);
    p.shine("M136 262c14-30 36-50 66-60", 10.0);
}

pub(super) fn globe_pendant(p: &mut Pen) {
    let main = p.main;
    p.line("M240 0v120", INK.base, 5.0);
    p.glow(240, 270, 198);
    p.solid("M204 164l12-44h48l12 44z", BRASS);
    p.solid_with(&oval(240, 274, 124, 124), main, 26, |p| {
        p.veil(&oval(232, 262, 84, 84), FLAME.light, 0.45);
        p.veil(&oval(232, 262, 52, 52), FLAME.light, 0.8);
        p.veil(&oval(304, 330, 7, 7), 0xffffff, 0.6);
        p.veil(&oval(176, 340, 5, 5), 0xffffff, 0.6);
        p.veil(&oval(318, 250, 4, 4), 0xffffff, 0.6);
    });
    p.solid(&slab(190, 152, 100, 20, 8), BRASS);
    p.shine("M140 254c6-40 30-68 62-78", 11.0);
}

pub(super) fn willow_pendant(p: &mut Pen) {
    let main = p.main;
    p.line("M240 0v126", INK.base, 5.0);
    p.beam("M110 320h260l70 160H40z");
    p.flat(&oval(240, 264, 66, 66), FLAME.base);
    p.flat(&oval(240, 264, 44, 44), FLAME.light);
    p.solid(&slab(208, 112, 64, 26, 10), main);
    for (bend, width) in [(146, 7.0), (104, 7.0), (58, 7.0), (12, 7.0)] {
        p.bar(
            &format!(
                "M{} 134C{} 190 {} 280 {} 344",
                240 - bend / 4,
                240 - bend,
                240 - bend,
                240 - bend * 6 / 7
            ),
            main,
            width,
        );
        p.bar(
            &format!(
                "M{} 134C{} 190 {} 280 {} 344",
                240 + bend / 4,
                240 + bend,
                240 + bend,
                240 + bend * 6 / 7
            ),
            main,
            width,
        );
    }
    for (y, half) in [(164, 66), (196, 92), (230, 110), (266, 120), (304, 124)] {
        p.bar(&format!("M{} {y}q{half} 26 {} 0", 240 - half, 2 * half), main, 8.0);
    }
    p.bar("M112 340q128 32 256 0", main, 15.0);
}

pub(super) fn chamberstick(p: &mut Pen) {
    p.stands(228, 120);
    let main = p.main;
    p.line("M316 346c66-28 84 40 8 26", main.dark, 15.0);
    p.solid("M100 340h256c-2 32-36 48-80 48h-96c-44 0-78-16-80-48z", main);
    p.flat(&oval(228, 340, 128, 20), main.light);
    p.flat(&oval(228, 342, 112, 15), main.dark);
    p.solid(&drum(228, 32, 262, 352, 9), main);
    p.solid(&drum(228, 21, 128, 272, 7), CREAM);
    p.flat("M207 134c6 20 12 20 14 40 2 14 8 14 8-4 0-16 8-20 20-36v-8h-42z", 0xffffff);
    p.flat(&oval(228, 262, 42, 10), main.light);
    p.line("M228 128v-12", INK.base, 4.0);
    flame(p, 228, 120, 62);
    p.shine("M126 362c10 10 24 14 40 16", 7.0);
}

pub(super) fn pillars(p: &mut Pen) {
    p.stands(240, 130);
    for (x, half, top) in [(170, 50, 216), (304, 44, 268), (244, 54, 150)] {
        let main = p.main;
        p.solid(&drum(x, half, top, 396, 12), main);
        p.flat(&oval(x, top, half, 12), main.light);
        p.flat(&oval(x, top + 1, half * 6 / 10, 6), FLAME.light);
        p.flat(&format!("M{} {}v34c0 12 14 12 14 0v-28z", x - half / 2, top + 8), main.light);
        p.line(&format!("M{x} {top}v-12"), INK.base, 4.0);
        flame(p, x, top - 8, 46);
    }
}

pub(super) fn candle_tin(p: &mut Pen) {
    p.stands(240, 132);
    let (main, mate) = (p.main, p.mate);
    p.group("rotate(-16 356 330)", |p| {
        p.solid(&oval(352, 312, 70, 74), STEEL);
        p.flat(&oval(348, 310, 54, 58), 0xe0e7ea);
        p.line("M330 300h36M336 316h24", main.base, 5.0);
    });
    p.solid(&drum(212, 108, 256, 398, 22), STEEL);
    p.cloth(&drum(212, 108, 286, 388, 22), 16);
    p.flat(&slab(164, 318, 84, 44, 6), CREAM.base);
    p.line("M180 334h52M190 347h30", if mate.is_pale() { INK.base } else { mate.base }, 4.0);
    p.flat(&oval(212, 256, 108, 22), 0xe0e7ea);
    p.flat(&oval(212, 258, 96, 17), CREAM.base);
    p.flat(&oval(212, 259, 44, 8), FLAME.light);
    p.line("M212 258v-16", INK.base, 4.0);
    flame(p, 212, 246, 58);
}
