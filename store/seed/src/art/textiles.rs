//! Textiles. Folds and ribs do here what highlights do for hard things.

use super::palette::{CREAM, DARK_WOOD, INK, WOOD};
use super::pen::{Pen, oval, slab};

fn fringe(p: &mut Pen, from: i32, to: i32, y: i32, length: i32) {
    let mut d = String::new();
    for x in (from..=to).step_by(13) {
        d.push_str(&format!("M{x} {y}v{length}"));
    }
    let colour = if p.main.is_pale() { p.main.dark } else { p.main.light };
    p.line(&d, colour, 5.0);
}

pub(super) fn blanket(p: &mut Pen) {
    p.stands(240, 142);
    let (main, mate) = (p.main, p.mate);
    fringe(p, 116, 366, 366, 20);
    for (y, x) in [(318, 104), (254, 110), (190, 104)] {
        p.cloth(
            &format!(
                "M{} {y}h{}a33 33 0 0 1 0 66H{}a33 33 0 0 1 0-66z",
                x + 33,
                480 - 2 * x - 66,
                x + 33
            ),
            10,
        );
        p.line(&format!("M{} {}h{}", x + 60, y + 33, 480 - 2 * x - 80), main.dark, 4.0);
    }
    p.solid_with(
        "M142 176c0-14 8-20 22-20h152c14 0 22 6 22 20v148c0 10-4 14-14 14H156c-10 0-14-4-14-14z",
        main,
        12,
        |p| {
            p.motif();
            let band = if main.is_pale() { mate.base } else { CREAM.base };
            p.line("M130 276h220", band, 16.0);
            p.line("M130 300h220M130 252h220", band, 5.0);
        },
    );
    fringe(p, 150, 330, 336, 24);
    p.shine("M166 172h90", 6.0);
}

pub(super) fn rolled_blanket(p: &mut Pen) {
    p.stands(240, 150);
    let (main, mate) = (p.main, p.mate);
    let band = if mate.is_pale() { CREAM.base } else { mate.base };
    p.line("M176 230c10-86 118-86 128 0", DARK_WOOD.base, 15.0);
    p.solid_with("M112 216h262c34 0 48 40 48 86s-14 86-48 86H112z", main, 26, |p| {
        p.motif();
        p.line("M352 200v200M376 200v200M330 200v200", band, 9.0);
    });
    p.solid(&oval(112, 302, 54, 86), main);
    p.line(
        "M112 232c-50 0-50 140 0 140 42 0 42-112 4-112-34 0-34 84-4 84 24 0 26-52 4-52",
        main.dark,
        6.0,
    );
    for x in [186, 282] {
        p.solid(&slab(x, 210, 22, 180, 4), DARK_WOOD);
        p.line(&format!("M{} 286h20v24h-20z", x + 1), 0xe0b455, 5.0);
    }
    p.shine("M150 238h24M222 238h48", 8.0);
}

pub(super) fn quilt(p: &mut Pen) {
    p.stands(240, 138);
    let (main, mate) = (p.main, p.mate);
    for (i, y) in [340, 292].into_iter().enumerate() {
        let tone = if i == 0 { mate } else { main };
        p.solid(&slab(100 + 4 * i as i32, y, 280 - 8 * i as i32, 48, 22), tone);
        p.line(&format!("M140 {}h230", y + 24), tone.dark, 3.0);
    }
    p.cloth(
        "M112 150c0-18 8-26 26-26h204c18 0 26 8 26 26v140c0 14-8 20-22 20H134c-14 0-22-6-22-20z",
        14,
    );
    let stitch = if main.is_pale() { main.dark } else { main.light };
    p.line("M112 172q32-30 64 0t64 0 64 0 64 0M112 214q32-30 64 0t64 0 64 0 64 0M112 256q32-30 64 0t64 0 64 0 64 0M112 296q32-30 64 0t64 0 64 0 64 0", stitch, 3.5);
    p.solid_with("M262 124h80c18 0 26 8 26 26v58z", mate, 8, |p| {
        p.line("M270 124l100 96", mate.dark, 4.0)
    });
}

pub(super) fn jumper(p: &mut Pen) {
    let main = p.main;
    let whole = "M186 98c30 26 78 26 108 0 44 8 66 24 78 62l44 172c4 12-2 20-12 24l-36 12c-10 2-18-2-20-12l-20-94v112c0 12-8 20-20 20H172c-12 0-20-8-20-20V262l-20 94c-2 10-10 14-20 12l-36-12c-10-4-16-12-12-24l44-172c12-38 34-54 78-62z";
    p.casts(whole);
    p.solid_with(whole, main, 14, |p| {
        p.veil("M328 262v140M152 262v140", main.dark, 1.0);
        p.line("M152 268l10-84M328 268l-10-84", main.dark, 5.0);
        let yoke = if main.is_pale() { p.mate.base } else { CREAM.base };
        let rows: &[&str] = match p.pattern {
            0 => &["M92 196l16-20 16 20 16-20 16 20 16-20 16 20 16-20 16 20 16-20 16 20 16-20 16 20 16-20 16 20 16-20 16 20 16-20 16 20 16-20"],
            1 => &["M80 176h320M80 192h320", "M80 214h320"],
            2 => &["M100 180h0M124 180h0M148 180h0M172 180h0M196 180h0M220 180h0M244 180h0M268 180h0M292 180h0M316 180h0M340 180h0M364 180h0M112 202h0M136 202h0M160 202h0M184 202h0M208 202h0M232 202h0M256 202h0M280 202h0M304 202h0M328 202h0M352 202h0"],
            3 => &["M80 180q16-20 32 0t32 0 32 0 32 0 32 0 32 0 32 0 32 0 32 0 32 0", "M80 204q16-20 32 0t32 0 32 0 32 0 32 0 32 0 32 0 32 0 32 0 32 0"],
            _ => &["M100 170l20 20-20 20M140 170l20 20-20 20M180 170l20 20-20 20M220 170l20 20-20 20M260 170l20 20-20 20M300 170l20 20-20 20M340 170l20 20-20 20"],
        };
        for row in rows {
            p.line(row, yoke, 6.0);
        }
        let mut ribs = String::new();
        for x in (160..330).step_by(12) {
            ribs.push_str(&format!("M{x} 366v30"));
        }
        p.line("M152 362h176", main.dark, 4.0);
        p.line(&ribs, main.dark, 3.0);
        p.line("M58 326l58 18M422 326l-58 18", main.dark, 4.0);
    });
    p.solid("M182 88c36 12 80 12 116 0l6 20c-30 34-98 34-128 0z", main);
    p.line("M200 100v16M218 104v18M240 106v18M262 104v18M280 100v16", main.dark, 3.0);
    p.shine("M118 158c6-14 16-24 32-30", 7.0);
}

pub(super) fn scarf(p: &mut Pen) {
    let (main, mate) = (p.main, p.mate);
    let band = if main.is_pale() { mate.base } else { CREAM.base };
    let loop_ = "M112 150c0-48 56-84 128-84s128 36 128 84-56 84-128 84-128-36-128-84zm66 0c0 18 28 30 62 30s62-12 62-30-28-30-62-30-62 12-62 30z";
    p.casts(loop_);
    p.group("rotate(14 200 210)", |p| {
        p.solid_with("M176 190h80v196h-80z", main, 10, |p| {
            p.motif();
            p.line("M170 330h100M170 350h100", band, 10.0);
        });
        fringe(p, 182, 252, 386, 30);
    });
    p.flat("M170 150a70 36 0 0 1 140 0 70 36 0 0 1-140 0z", main.dark);
    p.solid_with("M112 150c0-48 56-84 128-84s128 36 128 84c0 16-6 30-18 42-30 28-190 28-220 0-12-12-18-26-18-42zm58 2c8 30 132 30 140 0-6-40-134-40-140 0z", main, 12, |p| {
        p.motif();
        p.line("M124 120c40-44 192-44 232 0M120 176c40 40 200 40 240 0", main.dark, 4.0);
    });
    p.group("rotate(-8 260 210)", |p| {
        p.solid_with("M220 196h84v190h-84z", main, 12, |p| {
            p.motif();
            p.line("M210 316h104M210 340h104", band, 12.0);
        });
        fringe(p, 227, 300, 386, 32);
        p.solid(&slab(212, 178, 100, 58, 22), main);
    });
    p.shine("M142 118c18-18 46-28 74-30", 7.0);
}

pub(super) fn beanie(p: &mut Pen) {
    p.stands(240, 124);
    let main = p.main;
    let dome = "M128 316c-6-110 36-192 112-192s118 82 112 192z";
    p.solid_with(dome, main, 22, |p| {
        p.motif();
        p.line(
            "M240 124v200M200 130c-26 50-34 120-34 190M280 130c26 50 34 120 34 190",
            main.dark,
            3.0,
        );
    });
    p.solid(&oval(240, 116, 22, 16), main);
    let mut ribs = String::new();
    for x in (124..370).step_by(15) {
        ribs.push_str(&format!("M{x} 308v76"));
    }
    p.solid_with("M122 300h236c14 0 20 8 20 20l-4 46c-2 14-10 22-24 22H130c-14 0-22-8-24-22l-4-46c0-12 6-20 20-20z", main, 12, |p| p.line(&ribs, main.dark, 4.0));
    p.flat("M108 298h264v6H108z", main.dark);
    p.flat(&slab(292, 330, 44, 30, 4), CREAM.base);
    p.line("M302 345h24", INK.base, 4.0);
    p.shine("M152 252c4-40 20-72 46-92", 9.0);
}

pub(super) fn cushion(p: &mut Pen) {
    p.stands(240, 132);
    let (main, mate) = (p.main, p.mate);
    let d = "M104 134c-10-18 6-32 24-24 60 16 164 16 224 0 18-8 34 6 24 24-16 60-16 170 0 226 10 18-6 34-24 26-60-14-164-14-224 0-18 8-34-8-24-26 16-56 16-166 0-226z";
    p.line(d, if main.is_pale() { mate.base } else { main.light }, 10.0);
    p.cloth(d, 20);
    p.line("M118 124l30 34M362 124l-30 34M118 372l26-30M362 372l-26-30", main.dark, 5.0);
    p.shine("M136 158c-6 30-8 60-8 90", 9.0);
}

pub(super) fn bolster(p: &mut Pen) {
    p.stands(240, 168);
    let (main, mate) = (p.main, p.mate);
    let stripe = if main.is_pale() { mate.base } else { CREAM.base };
    p.solid_with("M88 250c40-8 264-8 304 0 26 8 36 30 36 66s-10 58-36 66c-40 8-264 8-304 0-26-8-36-30-36-66s10-58 36-66z", main, 20, |p| {
        p.line("M40 274c100-12 300-12 400 0M40 300c100-8 300-8 400 0M40 326h400M40 352c100 6 300 6 400 0", stripe, 5.0);
    });
    p.solid(&oval(70, 316, 22, 62), main);
    p.line("M70 262v108M50 290l40 52M90 290l-40 52", main.dark, 3.0);
    p.solid(&oval(66, 316, 8, 10), mate);
    p.line("M64 322c-8 26-20 30-16 52", mate.base, 6.0);
    p.shine("M120 264h120", 8.0);
}

pub(super) fn pouffe(p: &mut Pen) {
    p.stands(240, 140);
    let main = p.main;
    let d = "M104 300c-8-80 50-120 136-120s144 40 136 120c-4 60-40 88-136 88s-132-28-136-88z";
    p.line("M212 186c0-50 56-50 56 0", main.dark, 13.0);
    p.solid_with(d, main, 26, |p| {
        let mut knit = String::new();
        for row in 0..6 {
            for column in 0..9 {
                let (x, y) = (96 + column * 34 + (row % 2) * 17, 196 + row * 34);
                knit.push_str(&format!("M{x} {y}q10 4 12 20 2-16 12-20"));
            }
        }
        p.line(&knit, main.dark, 4.0);
    });
    p.flat(&oval(240, 190, 30, 9), main.dark);
    p.shine("M128 280c2-30 16-54 42-68", 10.0);
}

pub(super) fn towel(p: &mut Pen) {
    let (main, mate) = (p.main, p.mate);
    let band = if main.is_pale() { mate.base } else { CREAM.base };
    let d = "M132 108h216v284c0 10-4 16-14 16H146c-10 0-14-6-14-16z";
    p.casts(d);
    p.bar("M84 100h312", WOOD, 18.0);
    p.solid(&oval(84, 99, 15, 15), WOOD);
    p.solid(&oval(396, 99, 15, 15), WOOD);
    p.solid_with("M226 92h136c8 0 12 6 12 14v216H226z", main, 8, |p| {
        p.veil("M220 90h160v240H220z", main.dark, 0.7)
    });
    p.solid_with("M132 104c0-12 8-18 18-18h184c10 0 14 6 14 16v290c0 10-4 16-14 16H146c-10 0-14-6-14-16z", main, 12, |p| {
        p.motif();
        p.line("M120 322h240", band, 22.0);
        p.line("M120 350h240M120 296h240", band, 6.0);
        p.veil("M190 110c-8 90 6 190-2 300h10c8-110-4-210 2-300zM276 110c8 100-6 190 2 300h10c-8-110 4-210-2-300z", main.dark, 0.45);
    });
    fringe(p, 142, 340, 408, 16);
    p.shine("M152 102h90", 7.0);
}

pub(super) fn tea_towel(p: &mut Pen) {
    p.stands(240, 138);
    let main = p.main;
    let linen = CREAM;
    for y in [346, 312, 278] {
        p.solid_with(&slab(108, y, 264, 42, 18), linen, 8, |p| {
            p.line("M300 250v150M322 250v150", main.base, 9.0);
        });
    }
    p.solid_with(
        "M132 130h216c10 0 14 6 14 14v150c0 8-4 12-12 12H130c-8 0-12-4-12-12V144c0-8 4-14 14-14z",
        linen,
        10,
        |p| {
            if p.pattern != 1 {
                p.line("M100 250h280M100 268h280", main.base, 4.0);
            }
            p.line("M152 120v200M178 120v200", main.base, 13.0);
            p.line("M204 120v200", main.light, 5.0);
            p.line("M100 160h280", main.base, 13.0);
            p.line("M100 182h280", main.light, 5.0);
        },
    );
    p.line("M336 130c-4-22 22-22 18 0", main.base, 6.0);
}

pub(super) fn apron(p: &mut Pen) {
    let (main, mate) = (p.main, p.mate);
    let d = "M184 104h112c2 54 22 88 62 104v190c0 12-6 18-18 18H140c-12 0-18-6-18-18V208c40-16 60-50 62-104z";
    p.casts(d);
    p.line("M188 110C176 40 304 40 292 110", main.dark, 11.0);
    p.line("M122 222c-50 10-40 70-66 100M358 222c50 10 40 70 66 100", main.dark, 9.0);
    p.cloth(d, 14);
    let seam = if main.is_pale() { mate.base } else { main.light };
    p.line("M184 122h112M122 398h236", main.dark, 4.0);
    p.solid(&slab(160, 262, 160, 92, 10), main);
    p.line("M160 280h160M240 282v70", seam, 4.0);
    p.solid(&slab(212, 148, 58, 56, 6), main);
    p.line("M212 162h58", seam, 4.0);
    p.line("M252 186V134l8-10", 0xe0b455, 6.0);
    p.shine("M140 232v120", 7.0);
}
