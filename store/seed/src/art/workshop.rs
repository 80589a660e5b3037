//! Workshop.

use super::palette::{BRASS, CORD, CREAM, DARK_WOOD, INK, IRON, STEEL, Tone, WOOD};
use super::pen::{Pen, drum, oval, slab};

pub(super) fn pocket_knife(p: &mut Pen) {
    let main = p.main;
    p.group("rotate(-34 240 240)", |p| {
        p.casts(
            "M40 232c60-40 120-48 190-40h176c34 0 40 80 0 84-60 4-110-6-176-12-70 0-130-8-190-32z",
        );
        p.solid("M38 238c56-44 118-56 196-46v66c-76 8-140 2-196-20z", STEEL);
        p.line("M64 232c44-22 100-28 160-24", STEEL.light, 5.0);
        p.solid_with("M246 190h150c38 0 52 86 6 92-60 6-100-10-156-16z", main, 14, |p| {
            p.line(
                "M250 214c60-8 120 4 180 0M250 240c60-8 120 10 180 4M250 262c60-4 120 14 180 8",
                main.dark,
                3.0,
            );
        });
        p.solid(&slab(226, 184, 32, 88, 8), BRASS);
        p.flat(&oval(396, 244, 9, 9), BRASS.base);
        p.flat(&oval(396, 244, 4, 4), main.dark);
        p.shine("M272 204h110", 7.0);
    });
}

pub(super) fn chef_knife(p: &mut Pen) {
    let main = p.main;
    p.group("rotate(-30 240 240)", |p| {
        p.casts("M28 286c20-60 120-92 256-90h140v52H288v38z");
        p.solid("M24 290c24-62 126-98 270-94v94z", STEEL);
        p.flat("M24 290c60-22 160-30 270-26v26z", STEEL.light);
        p.solid("M292 194h16v98h-16z", IRON);
        p.solid_with("M306 196h124c24 0 30 44 6 54-16 6-30-2-50-2h-80z", main, 10, |p| {
            p.line("M310 216c40-6 90 4 130 0M310 234c40-4 80 6 130 2", main.dark, 3.0);
        });
        for x in [332, 372, 412] {
            p.flat(&oval(x, 222, 6, 6), BRASS.base);
        }
        p.shine("M70 262c50-34 120-50 190-50", 5.0);
    });
}

pub(super) fn oyster_knife(p: &mut Pen) {
    p.group("translate(252 322)", |p| {
        p.flat("M-104 20C-110-40-20-76 60-56 116-40 122 30 70 54-10 80-98 70-104 20z", 0x9aa7a6);
        p.flat("M-92 18C-92-32-16-60 54-44 100-32 104 22 62 42-8 66-88 58-92 18z", 0xf3efe6);
        p.flat("M-70 16C-66-20-8-40 44-28 76-18 78 18 46 30-6 46-66 44-70 16z", 0xd9d3cc);
        p.flat(&oval(30, 2, 14, 11), 0xffffff);
        p.line("M-96 44C-60 74 30 74 74 56M-84 58C-40 84 40 80 66 66", 0x7f8d8c, 4.0);
    });
    p.group("rotate(-40 240 200)", |p| {
        p.casts("M96 186c40-16 80-20 120-18v-8h30v6h130c50 0 50 70 0 70H246v6h-30v-8c-40 2-80-4-120-20z");
        p.solid("M92 198c36-20 78-28 128-26v56c-50 2-92-8-128-30z", STEEL);
        p.line("M116 194c30-10 62-14 96-14", STEEL.light, 5.0);
        let main = p.main;
        p.solid_with("M246 166h120c54 0 54 74 0 74H246z", main, 14, |p| p.motif());
        p.solid(&slab(216, 150, 32, 104, 14), BRASS);
        p.shine("M268 182h90", 7.0);
    });
}

pub(super) fn rope(p: &mut Pen) {
    p.stands(240, 146);
    let main = p.main;
    p.bar("M330 372c50 20 84 8 96-22", main, 22.0);
    for (y, rx) in [(352, 138), (316, 132), (280, 126), (244, 120)] {
        let ry = 34;
        p.solid_with(
            &format!(
                "M{} {y}a{rx} {ry} 0 0 0 {} 0v-6a{rx} {ry} 0 0 0-{} 0z",
                240 - rx,
                2 * rx,
                2 * rx
            ),
            main,
            6,
            |_| {},
        );
        p.bar(&format!("M{} {y}a{rx} {ry} 0 0 0 {} 0", 240 - rx, 2 * rx), main, 32.0);
        let mut lay = String::new();
        for i in 0..13 {
            let t = f64::from(i) / 12.0 * 2.0 - 1.0;
            let x = 240.0 + t * f64::from(rx) * 0.98;
            let drop = (1.0 - t * t).max(0.0) * 33.0;
            lay.push_str(&format!("M{} {}l9 17", x as i32 - 6, y + drop as i32 - 8));
        }
        p.line(&lay, main.dark, 3.5);
    }
    p.bar("M120 244a120 34 0 1 1 240 0", main, 30.0);
    p.flat("M136 246a104 26 0 0 1 208 0 104 26 0 0 1-208 0z", main.dark);
    p.bar("M206 236c-10-60-90-40-86-96 4-44 66-40 62 0-4 34-44 26-50 60", main, 22.0);
    p.line("M118 196l26 8M114 208l26 8", INK.base, 5.0);
}

pub(super) fn twine(p: &mut Pen) {
    p.stands(236, 96);
    let main = p.main;
    p.line("M318 330c60 10 40 60 100 46", main.dark, 6.0);
    p.solid(&drum(236, 98, 356, 396, 16), WOOD);
    p.flat(&oval(236, 356, 98, 16), WOOD.light);
    p.solid_with("M156 186c-14 60-14 120 0 172a80 16 0 0 0 160 0c14-52 14-112 0-172z", main, 22, |p| {
        p.line("M140 206l200 30M140 236l200 30M140 266l200 30M140 296l200 30M140 326l200 30M140 356l200 30", main.dark, 3.5);
        p.line("M340 190l-200 40M340 222l-200 40M340 254l-200 40M340 286l-200 40M340 318l-200 40M340 350l-200 40", main.light, 3.5);
    });
    p.solid(&drum(236, 98, 160, 204, 16), WOOD);
    p.flat(&oval(236, 160, 98, 16), WOOD.light);
    p.flat(&oval(236, 160, 26, 5), WOOD.dark);
    p.shine("M160 230c-4 40-4 70 0 100", 8.0);
}

pub(super) fn skip_rope(p: &mut Pen) {
    let (main, mate) = (p.main, p.mate);
    let line = "M132 262C60 420 220 440 240 330S420 420 348 262";
    p.casts_line(line, 15.0);
    p.bar(line, CORD, 15.0);
    for (x, turn) in [(150, 16), (330, -16)] {
        p.group(&format!("rotate({turn} {x} 180)"), |p| {
            p.casts(&slab(x - 22, 84, 44, 178, 20));
            p.cloth(
                &format!(
                    "M{} 96c0-22 40-22 40 0l6 76c0 20-6 30-8 46l-4 40h-28l-4-40c-2-16-8-26-8-46z",
                    x - 20
                ),
                10,
            );
            p.line(
                &format!("M{} 128h42M{} 142h44", x - 21, x - 22),
                if main.is_pale() { mate.base } else { CREAM.base },
                6.0,
            );
            p.solid(&oval(x, 90, 18, 12), WOOD);
            p.shine(&format!("M{} 110v56", x - 10), 6.0);
        });
    }
}

pub(super) fn mallet(p: &mut Pen) {
    let main = p.main;
    p.group("rotate(24 240 240)", |p| {
        p.casts("M124 100c0-8 6-12 14-12h82V78h42v10h82c8 0 14 4 14 12l-10 116c0 8-6 12-14 12h-73l7 152c0 8-6 12-14 12h-26c-8 0-14-4-14-12l1-152h-66c-8 0-14-4-14-12z");
        p.solid("M222 210h38l8 170c0 8-6 12-14 12h-26c-8 0-14-4-14-12z", DARK_WOOD);
        p.line("M234 240l-2 130", DARK_WOOD.light, 4.0);
        p.solid_with("M124 100c0-8 6-12 14-12h206c8 0 14 4 14 12l-10 116c0 8-6 12-14 12H150c-8 0-14-4-14-12z", main, 16, |p| {
            p.line("M120 120c80-12 160 10 250-4M120 152c80-10 160 12 250-2M120 186c80-10 160 12 250 0M126 212c80-8 150 8 240 0", main.dark, 3.0);
            p.flat("M120 84h24l8 150h-24z", main.light);
        });
        p.solid("M220 78h42v22h-42z", DARK_WOOD);
        p.line("M241 80v18", WOOD.light, 4.0);
        p.shine("M164 108h110", 7.0);
    });
}

pub(super) fn plane(p: &mut Pen) {
    p.stands(236, 158);
    let main = p.main;
    p.line("M206 200c-40-60 20-90 44-60s-14 50-30 30", 0xf0d3a2, 11.0);
    p.line("M212 210c-70-20-70-96-14-104", 0xe0bb82, 9.0);
    p.solid("M318 300c-10-60 10-104 44-112 16-2 20 12 14 24-16 26-10 60 8 88z", DARK_WOOD);
    p.solid("M252 296l52-124 32 12-48 116z", STEEL);
    p.flat("M300 170l36 14-8 20-36-14z", IRON.base);
    p.solid(&oval(132, 256, 30, 30), DARK_WOOD);
    p.solid_with(
        "M76 388V304c0-16 8-24 24-24h84l38 40h40l20-40h102c16 0 24 8 24 24v84z",
        main,
        18,
        |p| {
            p.line(
                "M70 310c100-10 200 14 340 0M70 336c100-10 200 14 340 0M70 362c100-8 200 10 340 0",
                main.dark,
                3.0,
            );
        },
    );
    p.flat("M76 380h332v9H76z", STEEL.base);
    p.solid("M186 282l36 38h40l18-38-20 0-12 22h-18l-22-22z", BRASS);
    p.shine("M96 298h64", 7.0);
}

pub(super) fn brush(p: &mut Pen) {
    let main = p.main;
    p.group("rotate(-28 240 240)", |p| {
        p.casts("M60 206h330c40 0 40 60 0 60h-80v80H60z");
        let mut hair = String::new();
        for x in (66..300).step_by(11) {
            hair.push_str(&format!("M{x} 250l{} 96", (x - 180) / 16));
        }
        p.solid("M62 246h242l14 96c-80 16-190 16-270 0z", BRISTLE);
        p.line(&hair, BRISTLE.dark, 3.5);
        p.solid_with("M56 232c0-20 10-30 30-30h200c30 0 40 16 70 16h44c44 0 44 62 0 62-30 0-50-14-90-16H70c-10 0-14-6-14-16z", main, 12, |p| {
            p.line("M60 220c100-6 200 6 370 10M60 242c100-6 200 4 370 12", main.dark, 3.0);
        });
        p.flat(&oval(404, 248, 9, 9), main.dark);
        p.line("M404 248c30-10 44 10 40 40", INK.base, 4.0);
        p.shine("M84 214h150", 7.0);
    });
}

const BRISTLE: Tone = Tone { base: 0x5d4a3c, dark: 0x42342a, light: 0x8a7462 };

pub(super) fn tool_box(p: &mut Pen) {
    p.stands(240, 148);
    let main = p.main;
    p.bar("M176 210v-44c0-16 8-24 24-24h80c16 0 24 8 24 24v44", IRON, 17.0);
    p.cloth("M88 278h304v98c0 8-4 12-12 12H100c-8 0-12-4-12-12z", 20);
    p.solid("M84 282l28-72c4-8 8-12 18-12h220c10 0 14 4 18 12l28 72z", main);
    p.line("M112 212h256", main.light, 6.0);
    p.flat("M84 278h312v9H84z", main.dark);
    for x in [136, 316] {
        p.solid(&slab(x, 262, 30, 46, 5), STEEL);
        p.line(&format!("M{} 290h14", x + 8), STEEL.dark, 4.0);
    }
    p.flat(&slab(198, 318, 84, 36, 5), CREAM.base);
    p.line("M214 336h52", INK.base, 5.0);
    p.shine("M132 224h80", 7.0);
}

pub(super) fn tote(p: &mut Pen) {
    p.stands(240, 128);
    let (main, mate) = (p.main, p.mate);
    let strap = if main.is_pale() { mate } else { main };
    p.line("M188 190C184 60 296 60 292 190", strap.dark, 15.0);
    p.line("M176 200C170 40 310 40 304 200", strap.dark, 15.0);
    p.line("M174 200C168 38 306 38 302 200", strap.base, 9.0);
    p.cloth("M110 182h260l12 194c0 8-4 12-12 12H110c-8 0-12-4-12-12z", 22);
    p.solid("M103 300h274l5 76c0 8-4 12-12 12H110c-8 0-12-4-12-12z", mate);
    p.line("M112 204h256", main.dark, 4.0);
    p.line("M176 184v116M304 184v116", strap.base, 15.0);
    p.line("M166 300l20 0M294 300h20", strap.dark, 5.0);
    let mark = if main.is_pale() { mate.base } else { CREAM.base };
    p.line(
        "M240 226v46M240 226c-16 8-22 26-24 42h48c-2-18-8-34-24-42M208 276c8 12 56 12 64 0",
        mark,
        5.0,
    );
    p.shine("M126 224v60", 8.0);
}

pub(super) fn knapsack(p: &mut Pen) {
    p.stands(240, 116);
    let main = p.main;
    p.line("M210 104c0-34 60-34 60 0", DARK_WOOD.base, 11.0);
    p.line("M132 170c-40 40-40 120-12 160M348 170c40 40 40 120 12 160", DARK_WOOD.dark, 17.0);
    p.solid(&slab(116, 84, 248, 50, 25), p.mate);
    p.line("M160 84v50M320 84v50", DARK_WOOD.base, 11.0);
    p.cloth("M138 150c0-26 16-38 40-38h124c24 0 40 12 40 38l14 196c2 28-12 42-38 42H162c-26 0-40-14-38-42z", 24);
    p.solid(
        "M158 272h164c8 0 12 4 12 12v66c0 16-10 24-26 24H172c-16 0-26-8-26-24v-66c0-8 4-12 12-12z",
        main,
    );
    p.solid("M134 152c2-26 18-40 44-40h124c26 0 42 14 44 40l6 70c2 22-10 36-34 36H162c-24 0-36-14-34-36z", main);
    for x in [182, 298] {
        p.line(&format!("M{x} 214v96"), DARK_WOOD.base, 14.0);
        p.line(&format!("M{} 262h28v24h-28z", x - 14), BRASS.base, 6.0);
    }
    p.shine("M156 152c2-12 10-18 22-20", 8.0);
}
