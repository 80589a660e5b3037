//! Maps & instruments.

use super::palette::{BRASS, CREAM, DARK_WOOD, GLASS, INK, IRON, LEAF, RED, Tone};
use super::pen::{Pen, drum, oval, slab};

pub(super) fn chart_roll(p: &mut Pen) {
    p.stands(240, 150);
    let sheet = "M112 176c14 14 30 16 44 6l168-36c22-4 36 6 40 24l14 178c2 16-8 26-22 28l-196 12c-18 0-30-8-34-26z";
    p.solid_with(sheet, CREAM, 10, |p| {
        p.flat("M150 236c30-22 54 10 86-6 26-14 58-24 76 4 12 20-14 30-30 42-22 16-8 40-36 46-34 8-44-22-66-28-24-8-52-36-30-58z", 0xf0d9a8);
        p.line("M138 240c36-38 66-2 100-18 36-18 76-26 92 10", 0x9cc3c6, 3.0);
        p.line("M142 214c36-34 66-2 100-18 36-18 76-22 92 4M176 330c26 8 40 26 74 16 34-10 26-40 52-52", 0x9cc3c6, 3.0);
        p.line("M128 270l220-44M190 178l34 200M276 160l30 214", 0xd9c7a1, 2.0);
    });
    p.line("M200 262l24 14 22-20 28 6", RED, 3.5);
    p.flat(&oval(200, 262, 6, 6), RED);
    p.line("M266 252l16 18m0-18-16 18", RED, 5.0);
    p.group("translate(306 322)", |p| {
        p.flat("M0-34 7-7 34 0 7 7 0 34-7 7-34 0-7-7z", INK.base);
        p.flat("M0-34 7-7 0 0zM34 0 7 7 0 0zM0 34-7 7 0 0zM-34 0-7-7 0 0z", INK.light);
    });
    p.solid("M100 170a18 26 0 0 1 36 6l22 196a18 22 0 0 1-36 6z", CREAM);
    p.flat(&oval(118, 168, 17, 11), 0xcdb98f);
    p.flat(&oval(118, 168, 8, 5), 0x9c8a66);
}

pub(super) fn folded_map(p: &mut Pen) {
    p.stands(240, 130);
    for (i, x) in [112, 198, 284].into_iter().enumerate() {
        let left = i % 2 == 0;
        let (a, b) = if left { (150, 128) } else { (128, 150) };
        let tone = if left { CREAM } else { Tone { base: 0xeee2c6, ..CREAM } };
        let foot = |y: i32| y + 240;
        let d = format!("M{x} {a}L{} {b}V{}L{x} {}z", x + 86, foot(b), foot(a));
        p.solid_with(&d, tone, 6, |p| {
            p.line("M60 300c60-60 90 20 150-30s80-60 190-20", LEAF.light, 26.0);
            p.line("M60 230c80 30 120-50 180 0s90 20 180-30", 0x9cc3c6, 9.0);
            p.line("M150 400c10-90 60-70 80-150s60-60 90-110", RED, 4.0);
        });
    }
    let main = p.main;
    p.solid_with("M112 150l86-22v240l-86 22z", main, 8, |p| {
        p.motif();
    });
    p.flat("M128 196l54-14v46l-54 14z", CREAM.base);
    p.line("M138 212l34-9M138 224l22-6", main.dark, 4.0);
    p.line("M132 330l14-26 12 12 10-24 14 28", CREAM.base, 5.0);
}

pub(super) fn logbook(p: &mut Pen) {
    p.stands(240, 118);
    p.solid("M148 108h182c10 0 16 6 16 16v252c0 8-6 14-14 14H148z", CREAM);
    p.line("M170 384h164M170 376h168", CREAM.dark, 2.5);
    p.cloth(
        "M136 112c0-12 8-20 20-20h172c10 0 16 6 16 16v256c0 8-6 12-14 12H156c-12 0-20 6-20 12z",
        12,
    );
    let (main, mate) = (p.main, p.mate);
    p.veil("M136 112c0-12 8-20 20-20h10v284h-10c-12 0-20 6-20 12z", main.dark, 0.75);
    p.flat(&slab(200, 146, 104, 66, 6), CREAM.base);
    p.line("M220 170h64M220 188h40", INK.base, 5.0);
    p.solid(&slab(312, 92, 18, 284, 0), mate);
    p.flat("M214 376h18v34l-9-9-9 9z", RED);
    p.shine("M180 108h110", 5.0);
}

fn dial(p: &mut Pen, x: i32, y: i32, r: i32, turn: i32) {
    p.solid_with(&oval(x, y, r, r), CREAM, 8, |p| {
        p.veil(&format!("M{} {}h{}v{}h-{}z", x - r, y - r, 2 * r, r, 2 * r), 0xffffff, 0.25);
    });
    p.group(&format!("translate({x} {y})"), |p| {
        for quarter in 0..4 {
            p.group(&format!("rotate({})", quarter * 90), |p| {
                p.line(&format!("M0-{}v10", r - 12), INK.base, 5.0);
                p.group("rotate(30)", |p| p.line(&format!("M0-{}v5", r - 12), INK.light, 3.0));
                p.group("rotate(60)", |p| p.line(&format!("M0-{}v5", r - 12), INK.light, 3.0));
            });
        }
        p.group(&format!("rotate({turn})"), |p| {
            let long = r * 7 / 10;
            let wide = r / 7;
            p.flat(&format!("M0-{long}L{wide} 0H-{wide}z"), RED);
            p.flat(&format!("M0 {long}L{wide} 0H-{wide}z"), INK.base);
            p.veil(&format!("M0-{long}V{long}L{wide} 0z"), 0x000000, 0.15);
        });
        p.flat(&oval(0, 0, r / 11, r / 11), BRASS.base);
    });
}

pub(super) fn compass(p: &mut Pen) {
    p.stands(240, 96);
    let main = p.main;
    p.line("M240 128a26 26 0 1 1 1 0", main.dark, 11.0);
    p.solid(&slab(224, 112, 32, 34, 6), main);
    p.solid(&oval(240, 262, 128, 128), main);
    p.flat(&oval(240, 262, 110, 110), main.dark);
    dial(p, 240, 262, 103, 32);
    p.shine("M150 236a96 96 0 0 1 62-66", 9.0);
}

pub(super) fn desk_compass(p: &mut Pen) {
    p.stands(240, 142);
    let main = p.main;
    p.solid("M116 134h248v132H116z", Tone { base: main.dark, dark: main.dark, light: main.base });
    p.flat("M130 148h220v118H130z", INK.dark);
    p.line("M150 166h180M150 166v80", INK.base, 4.0);
    p.solid("M104 262h272v124H104z", main);
    p.flat("M104 262h272v14H104z", main.light);
    p.line("M128 312h90M160 340h150M250 322h96", main.dark, 3.0);
    p.line(
        "M104 300h16v24h-16M376 300h-16v24h16M104 348h16v24h-16M376 348h-16v24h16",
        main.dark,
        3.0,
    );
    p.solid(&oval(240, 240, 98, 84), BRASS);
    p.group("translate(0 36) scale(1 .86)", |p| dial(p, 240, 238, 82, -38));
    p.solid(&slab(222, 322, 36, 30, 5), BRASS);
    p.shine("M168 206a90 78 0 0 1 40-34", 7.0);
}

pub(super) fn bearing_compass(p: &mut Pen) {
    p.stands(240, 112);
    let main = p.main;
    p.line("M322 160c60-40 84 40 50 92s-26 106-6 118", p.mate.base, 9.0);
    p.cloth(&slab(122, 138, 236, 248, 74), 18);
    p.solid(&slab(216, 108, 48, 48, 10), main);
    p.flat("M234 100h12v30h-12z", main.dark);
    p.flat(&oval(240, 264, 96, 96), main.dark);
    dial(p, 240, 264, 88, 18);
    p.line("M240 180v168", RED, 2.5);
    p.shine("M146 232a98 98 0 0 1 52-62", 9.0);
}

pub(super) fn telescope(p: &mut Pen) {
    let whole = "M74 214h128v-12h108v-10h98v96h-98v-10H202v-12H74z";
    p.group("rotate(-24 240 240)", |p| {
        p.casts(whole);
        let main = p.main;
        p.solid("M302 190h96c8 0 12 6 12 14v72c0 8-4 14-12 14h-96z", DARK_WOOD);
        p.solid("M196 201h112v78H196z", main);
        p.solid("M76 214h126v52H76z", main);
        for (x, y, h) in [(62, 208, 64), (188, 194, 92), (296, 184, 112), (396, 184, 112)] {
            p.solid(&slab(x, y, 22, h, 5), main);
        }
        p.flat(&oval(414, 240, 6, 46), GLASS.base);
        p.line("M326 206v68M348 206v68M370 206v68", DARK_WOOD.dark, 4.0);
        p.shine("M90 226h84M214 214h66M320 202h60", 6.0);
    });
}

pub(super) fn binoculars(p: &mut Pen) {
    p.stands(240, 142);
    let main = p.main;
    p.solid(&slab(206, 178, 68, 70, 10), IRON);
    p.solid(&slab(222, 156, 36, 48, 10), IRON);
    p.line("M230 166v26M240 166v26M250 166v26", IRON.dark, 3.0);
    for x in [0, 156] {
        p.group(&format!("translate({x} 0)"), |p| {
            p.solid(&slab(124, 112, 76, 58, 12), IRON);
            p.cloth("M120 162h84l22 178c2 20-8 34-28 34h-72c-20 0-30-14-28-34z", 14);
            p.solid("M98 334h128v36c0 12-6 18-18 18h-92c-12 0-18-6-18-18z", IRON);
            p.flat("M98 334h128v8H98z", main.light);
            p.shine("M128 186 116 314", 8.0);
        });
    }
}

pub(super) fn magnifier(p: &mut Pen) {
    p.group("rotate(38 240 240)", |p| {
        p.casts(&slab(222, 250, 36, 196, 16));
        p.casts(&oval(240, 166, 112, 112));
        let main = p.main;
        p.solid("M224 290h32l8 132c2 16-10 26-24 26s-26-10-24-26z", DARK_WOOD);
        p.solid(&slab(222, 262, 36, 42, 6), BRASS);
        p.solid(&oval(240, 166, 112, 112), main);
        p.solid_with(&oval(240, 166, 90, 90), GLASS, 10, |p| {
            p.line("M120 200c40-50 70-10 110-30s70-20 140-10", 0x9cc3c6, 7.0);
            p.line("M130 150l220 60", RED, 4.0);
        });
        p.shine("M172 150a72 72 0 0 1 44-50", 11.0);
        p.shine("M166 176v4", 11.0);
        p.shine("M232 320l-2 90", 6.0);
    });
}

pub(super) fn barometer(p: &mut Pen) {
    let main = p.main;
    let back = "M240 62c34 0 52 22 56 52 44 22 76 66 76 124a132 132 0 0 1-264 0c0-58 32-102 76-124 4-30 22-52 56-52z";
    p.casts(back);
    p.line("M240 70V36", INK.base, 5.0);
    p.flat(&oval(240, 34, 8, 8), BRASS.base);
    p.solid(back, main);
    p.flat(&oval(240, 94, 20, 20), main.dark);
    p.line("M240 82v22", BRASS.base, 6.0);
    p.solid(&oval(240, 240, 112, 112), BRASS);
    p.solid(&oval(240, 240, 98, 98), CREAM);
    p.line("M176 284a78 78 0 1 1 128 0", 0xcdbb95, 3.0);
    p.line("M176 284a78 78 0 0 1-14-58", 0x6d97ab, 9.0);
    p.line("M318 226a78 78 0 0 1-14 58", 0xe0a048, 9.0);
    p.line("M240 152v14M166 194l10 8M314 194l-10 8", INK.base, 5.0);
    p.line("M240 240l44-58", INK.base, 7.0);
    p.line("M240 240l-18 24", INK.base, 7.0);
    p.line("M240 240l-52-26", BRASS.dark, 4.0);
    p.flat(&oval(240, 240, 10, 10), BRASS.base);
    p.line("M214 304h52M226 318h28", INK.light, 4.0);
    p.shine("M150 224a92 92 0 0 1 50-66", 9.0);
}

pub(super) fn tide_clock(p: &mut Pen) {
    p.stands(240, 100);
    let (main, mate) = (p.main, p.mate);
    p.solid("M168 350l-22 38h34l16-28zM312 350l22 38h-34l-16-28z", main);
    p.cloth(&oval(240, 244, 136, 136), 18);
    p.flat(&oval(240, 244, 114, 114), main.dark);
    p.solid_with(&oval(240, 244, 106, 106), CREAM, 8, |p| {
        p.flat("M120 268q30-20 60 0t60 0 60 0 60 0v110H120z", 0x9fc8cb);
        p.flat("M120 296q30-20 60 0t60 0 60 0 60 0v90H120z", 0x6ba5ab);
    });
    p.line("M240 150v14M240 324v14M146 244h14M320 244h14", INK.base, 6.0);
    p.line("M174 178l8 8M306 178l-8 8M174 310l8-8M306 310l-8-8", INK.light, 4.0);
    p.line("M240 244l48-62", if mate.is_pale() { INK.base } else { RED }, 8.0);
    p.flat(&oval(290, 180, 9, 9), if mate.is_pale() { INK.base } else { RED });
    p.flat(&oval(240, 244, 12, 12), INK.base);
    p.shine("M136 222a106 106 0 0 1 62-78", 9.0);
}

pub(super) fn hourglass(p: &mut Pen) {
    p.stands(240, 96);
    let main = p.main;
    p.bar("M162 130v230", main, 15.0);
    let bulb = "M180 126h120c0 62-26 84-46 108-6 8-6 16 0 24 20 24 46 46 46 108H180c0-62 26-84 46-108 6-8 6-16 0-24-20-24-46-46-46-108z";
    p.solid_with(bulb, GLASS, 12, |p| {
        p.flat("M160 180q40 14 80 6t80-2v20c-20 16-60 40-72 52h-16c-12-12-52-36-72-52z", 0xe8bf78);
        p.flat("M160 366c0-30 50-54 80-62 30 8 80 32 80 62z", 0xe8bf78);
        p.line("M240 244v68", 0xe8bf78, 5.0);
        p.veil("M240 304c30 8 80 32 80 62h-60z", 0x9a6f2c, 0.3);
    });
    p.shine("M200 140c2 30 10 46 22 62M202 350c2-22 8-34 18-46", 7.0);
    p.bar("M318 130v230", main, 15.0);
    p.solid(&drum(240, 104, 100, 134, 8), main);
    p.flat(&oval(240, 102, 104, 9), main.light);
    p.solid(&drum(240, 104, 358, 392, 8), main);
    p.flat(&oval(240, 360, 104, 9), main.light);
}
