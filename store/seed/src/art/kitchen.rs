//! Kitchen & tea.

use super::palette::{BRASS, CREAM, DARK_WOOD, GLASS, INK, IRON, STEEL, Tone, WOOD};
use super::pen::{Pen, drum, oval, slab};

fn steam(p: &mut Pen, x: i32, y: i32) {
    p.shine(&format!("M{x} {y}c-14-16 14-26 0-44M{} {}c-12-14 12-22 0-38", x + 26, y - 6), 6.0);
}

pub(super) fn teapot(p: &mut Pen) {
    p.stands(236, 104);
    let main = p.main;
    p.bar("M322 250c84-30 92 96-6 96", main, 20.0);
    p.solid("M170 330C120 322 122 262 82 236c-4-8 14-18 24-18 40 16 46 50 84 58z", main);
    p.cloth(
        "M132 300c0-66 46-104 106-104s106 38 106 104c0 48-28 76-58 88h-96c-30-12-58-40-58-88z",
        24,
    );
    p.veil("M168 376c40 12 104 12 140 0l-22 12h-96z", main.dark, 0.6);
    p.line("M186 214q52 16 104 0", main.dark, 5.0);
    p.solid("M188 208c4-26 24-36 50-36s46 10 50 36c-30 12-70 12-100 0z", main);
    p.solid(&oval(238, 160, 15, 15), main);
    p.shine("M160 290c2-26 14-46 36-58", 10.0);
}

pub(super) fn tall_pot(p: &mut Pen) {
    p.stands(240, 84);
    let main = p.main;
    p.bar("M312 190c70-8 76 130 4 140", main, 16.0);
    p.solid("M186 254C150 246 148 170 122 142l26-12c30 22 30 60 54 72z", main);
    p.cloth("M188 156h104l28 210c2 14-6 22-20 22H180c-14 0-22-8-20-22z", 22);
    p.line("M188 158h104", INK.base, 6.0);
    p.line("M160 384h160", INK.base, 6.0);
    p.solid("M190 150c6-34 24-46 50-46s44 12 50 46z", main);
    p.flat(&oval(240, 98, 13, 13), INK.base);
    p.line("M292 152l18 10", INK.base, 6.0);
    p.shine("M196 184l-14 150", 10.0);
}

pub(super) fn caddy(p: &mut Pen) {
    p.stands(240, 90);
    let (main, mate) = (p.main, p.mate);
    p.cloth(&drum(240, 92, 176, 396, 20), 22);
    p.flat(&slab(178, 232, 108, 104, 12), CREAM.base);
    let ink = if mate.is_pale() { INK.base } else { mate.base };
    p.line(
        "M232 312c-4-30 4-44 26-60-2 28-8 40-26 46M232 300c-18-6-22-18-22-34 14 4 20 16 22 34",
        ink,
        5.0,
    );
    p.solid(&drum(240, 98, 138, 204, 20), main);
    p.line("M142 186a98 20 0 0 0 196 0", main.dark, 4.0);
    p.flat(&oval(240, 138, 98, 20), main.light);
    p.solid(&oval(240, 130, 22, 10), BRASS);
    p.shine("M164 226v120", 9.0);
}

pub(super) fn mug(p: &mut Pen) {
    p.stands(228, 90);
    let main = p.main;
    p.bar("M312 226c78-12 78 112-4 110", main, 22.0);
    p.cloth("M132 188h192l-8 160c-2 24-16 40-40 40h-96c-24 0-38-16-40-40z", 24);
    p.solid("M138 342h180c-4 30-18 46-42 46h-96c-24 0-38-16-42-46z", BISQUE);
    p.flat(&oval(228, 188, 96, 20), main.light);
    p.flat(&oval(228, 191, 84, 15), main.dark);
    p.flat("M146 194c20 16 144 16 164 0-24 14-140 14-164 0z", 0x6d4126);
    steam(p, 214, 158);
    p.shine("M152 224l6 92", 9.0);
}

pub(super) fn cup(p: &mut Pen) {
    p.stands(232, 128);
    let main = p.main;
    p.solid("M88 364h288c-8 18-50 26-144 26s-136-8-144-26z", main);
    p.flat(&oval(232, 364, 144, 16), main.light);
    p.flat(&oval(232, 366, 96, 9), main.dark);
    p.bar("M320 256c66-18 70 68-4 70", main, 15.0);
    p.cloth("M132 226h200c0 74-30 122-64 138h-72c-34-16-64-64-64-138z", 24);
    p.flat(&oval(232, 226, 100, 20), main.light);
    p.flat(&oval(232, 229, 88, 15), 0x8a5a34);
    p.veil("M150 230c30-14 134-14 164 0-30-6-134-6-164 0z", 0x000000, 0.18);
    steam(p, 218, 196);
    p.shine("M150 256c4 34 16 60 30 76", 8.0);
}

pub(super) fn camp_mug(p: &mut Pen) {
    p.stands(228, 92);
    let main = p.main;
    let rim = if main.is_pale() { INK.base } else { CREAM.base };
    p.line("M316 244h20c34 0 34 88 0 88h-22", main.dark, 17.0);
    p.line("M316 242h18c28 0 28 86 0 86h-20", main.base, 11.0);
    p.cloth(&drum(228, 94, 206, 394, 18), 24);
    p.flat(&oval(228, 206, 96, 20), rim);
    p.flat(&oval(228, 207, 88, 16), CREAM.base);
    p.flat(&oval(228, 211, 80, 12), 0x7b4d2c);
    p.line("M134 372a94 18 0 0 0 188 0", rim, 6.0);
    steam(p, 214, 178);
    p.shine("M152 240v100", 9.0);
}

pub(super) fn kettle(p: &mut Pen) {
    p.stands(236, 112);
    let main = p.main;
    p.line("M156 230C150 70 326 70 320 230", IRON.base, 12.0);
    p.line("M196 124c20-14 64-14 84 0", DARK_WOOD.base, 24.0);
    p.shine("M200 118c20-10 50-12 68-4", 5.0);
    p.solid("M152 330C104 320 112 250 76 216l30-14c34 22 36 62 74 72z", main);
    p.cloth(
        "M122 340c0-78 46-124 116-124s116 46 116 124c0 26-10 40-28 48H150c-18-8-28-22-28-48z",
        26,
    );
    p.solid("M190 220c6-22 24-30 48-30s42 8 48 30c-28 10-68 10-96 0z", main);
    p.flat(&oval(238, 182, 13, 13), IRON.base);
    p.flat("M140 380h196l-10 8H150z", main.dark);
    p.shine("M148 326c2-34 16-60 42-76", 11.0);
}

pub(super) fn saucepan(p: &mut Pen) {
    p.stands(196, 116);
    let main = p.main;
    p.group("rotate(-14 310 270)", |p| {
        p.solid(&slab(296, 256, 152, 24, 12), IRON);
        p.flat(&oval(430, 268, 6, 6), 0xffffff);
    });
    p.cloth(&drum(196, 118, 232, 398, 22), 26);
    p.flat(&oval(196, 232, 122, 24), main.light);
    p.flat(&oval(196, 235, 108, 18), STEEL.base);
    p.veil("M88 235a108 18 0 0 1 216 0c-40-10-176-10-216 0z", 0x000000, 0.25);
    p.flat(&oval(302, 262, 6, 6), STEEL.light);
    p.flat(&oval(302, 282, 6, 6), STEEL.light);
    p.shine("M104 274v82", 10.0);
}

pub(super) fn stew_pot(p: &mut Pen) {
    p.stands(240, 134);
    let main = p.main;
    p.bar("M112 270H82v36h30M368 270h30v36h-30", main, 16.0);
    p.cloth("M108 236h264v104c0 30-18 48-48 48H156c-30 0-48-18-48-48z", 26);
    p.solid(&slab(98, 218, 284, 26, 12), main);
    p.solid("M112 220c8-46 62-64 128-64s120 18 128 64z", main);
    p.solid(&slab(216, 132, 48, 24, 10), BRASS);
    p.line("M98 244h284", main.dark, 5.0);
    p.shine("M138 204c14-18 36-26 60-30M132 270v56", 9.0);
}

pub(super) fn jar(p: &mut Pen) {
    p.stands(240, 84);
    let fills = [0xe8c58a, 0xd98a5a, 0x8d6a4a, 0xb9b27a, 0xcf6f5c];
    let fill = fills[p.pattern as usize % fills.len()];
    p.solid_with("M166 160h148c14 10 20 24 20 42v154c0 20-10 32-30 32H176c-20 0-30-12-30-32V202c0-18 6-32 20-42z", GLASS, 14, |p| {
        p.flat("M130 244q60 14 110 0t110 4v150H130z", fill);
        p.veil("M300 190h40v210h-40z", 0x000000, 0.1);
    });
    p.flat(&slab(190, 280, 100, 62, 8), CREAM.base);
    p.line("M208 302h64M208 320h40", INK.base, 5.0);
    p.solid(&slab(158, 134, 164, 30, 12), WOOD);
    p.solid("M166 136c6-24 30-32 74-32s68 8 74 32z", GLASS);
    p.line("M152 166h176M322 150l18 26-14 52", STEEL.dark, 5.0);
    p.shine("M166 206v150", 10.0);
}

pub(super) fn board(p: &mut Pen) {
    p.stands(240, 110);
    let main = p.main;
    p.solid_with("M150 166c0-18 12-28 30-30 18-2 28-8 28-26V84c0-14 12-22 32-22s32 8 32 22v26c0 18 10 24 28 26 18 2 30 12 30 30v196c0 16-10 26-26 26H176c-16 0-26-10-26-26z", main, 14, |p| {
        p.line("M176 120c-10 90 8 180-4 280M206 60c16 100-8 240 4 340M246 60c-10 120 16 240 0 340M282 80c10 100-10 200 4 310M312 130c-6 80 8 180-2 260", main.dark, 2.5);
        p.veil(&oval(228, 262, 9, 16), main.dark, 0.7);
    });
    p.flat(&oval(240, 92, 12, 12), main.dark);
    p.line("M240 92c-14-30 10-50 22-66", INK.base, 5.0);
    p.shine("M164 180v160", 7.0);
    p.solid("M250 352c4-44 36-70 76-70s72 26 76 70c2 24-10 36-30 36h-92c-20 0-32-12-30-36z", CRUST);
    p.line("M286 314l14 20M318 302l12 22M352 308l8 18", CRUST.light, 8.0);
}

const BISQUE: Tone = Tone { base: 0xe6d3b1, dark: 0xc9b189, light: 0xf5e8cf };
const CRUST: Tone = Tone { base: 0xc98545, dark: 0xa3642c, light: 0xf0c48a };

pub(super) fn crock(p: &mut Pen) {
    p.stands(236, 96);
    let (main, mate) = (p.main, p.mate);
    p.bar("M286 190 350 84", WOOD, 12.0);
    p.cloth(
        "M146 226c-14 14-22 34-22 62v58c0 28 16 42 44 42h136c28 0 44-14 44-42v-58c0-28-8-48-22-62z",
        24,
    );
    p.flat("M170 262h132v70H170z", CREAM.base);
    let ink = if mate.is_pale() { INK.base } else { mate.base };
    p.line("M214 297a22 15 0 1 1 44 0 22 15 0 1 1-44 0M228 284v26M242 284v26M222 280c-14-20-30-6-16 6M248 280c12-20 30-6 16 6", ink, 4.0);
    p.solid(&slab(138, 202, 196, 30, 12), main);
    p.solid("M156 204c10-28 40-40 80-40s70 12 80 40z", main);
    p.solid(&oval(236, 156, 18, 14), main);
    p.flat("M280 232c6 28 14 26 16 0z", 0xe8a52f);
    p.shine("M146 286v58", 9.0);
}
