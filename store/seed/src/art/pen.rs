//! What the drawings are drawn with: solids with a lit and a shaded side, flat shapes, lines.
//!
//! A solid is its outline filled with the shade colour, and the same outline again in the lit
//! colour, moved up and left and clipped to the first: a crescent of shade stays where the light
//! does not reach. It costs three short elements and works for any outline.

use std::fmt::Write;

use super::palette::{CREAM, Tone, hex};

/// The kind of surface decoration that a picture's `pattern` digit selects.
pub(super) struct Pen {
    out: String,
    defs: String,
    ids: u32,
    /// The colour of the variant, its companion, and the digit of the pattern.
    pub(super) main: Tone,
    pub(super) mate: Tone,
    pub(super) pattern: u8,
    /// Shadow colour on this scene.
    pub(super) shadow: u32,
    has_pattern: bool,
}

impl Pen {
    pub(super) fn new(main: Tone, mate: Tone, pattern: u8, shadow: u32) -> Self {
        Self {
            out: String::with_capacity(4096),
            defs: String::new(),
            ids: 0,
            main,
            mate,
            pattern,
            shadow,
            has_pattern: false,
        }
    }

    pub(super) fn finish(self) -> (String, String) {
        (self.defs, self.out)
    }

    fn put(&mut self, text: std::fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        let _ = self.out.write_fmt(text);
    }

    /// A shape without shading.
    pub(super) fn flat(&mut self, d: &str, fill: u32) {
        self.put(format_args!("<path d=\"{d}\" fill=\"{}\"/>", hex(fill)));
    }

    /// A shape through which what lies below can be seen.
    pub(super) fn veil(&mut self, d: &str, fill: u32, opacity: f32) {
        self.put(format_args!("<path d=\"{d}\" fill=\"{}\" opacity=\"{opacity}\"/>", hex(fill)));
    }

    pub(super) fn line(&mut self, d: &str, colour: u32, width: f32) {
        self.put(format_args!(
            "<path d=\"{d}\" fill=\"none\" stroke=\"{}\" stroke-width=\"{width}\" stroke-linecap=\"round\" stroke-linejoin=\"round\"/>",
            hex(colour)
        ));
    }

    /// A round bar: a line in shade with a thinner lit line beside it.
    pub(super) fn bar(&mut self, d: &str, tone: Tone, width: f32) {
        self.line(d, tone.dark, width);
        self.put(format_args!("<g transform=\"translate(-{0} -{0})\">", width * 0.12));
        self.line(d, tone.base, width * 0.72);
        self.put(format_args!("</g>"));
    }

    /// Where the light is caught: a soft white stroke.
    pub(super) fn shine(&mut self, d: &str, width: f32) {
        self.put(format_args!(
            "<path d=\"{d}\" fill=\"none\" stroke=\"#fff\" stroke-opacity=\".45\" stroke-width=\"{width}\" stroke-linecap=\"round\"/>"
        ));
    }

    pub(super) fn solid(&mut self, d: &str, tone: Tone) {
        self.solid_with(d, tone, 16, |_| {});
    }

    /// A solid with something drawn on its surface, cut off at its outline.
    pub(super) fn solid_with(
        &mut self,
        d: &str,
        tone: Tone,
        shade: i32,
        on_it: impl FnOnce(&mut Self),
    ) {
        self.ids += 1;
        let id = self.ids;
        let _ = write!(
            self.defs,
            "<path id=\"s{id}\" d=\"{d}\"/><clipPath id=\"c{id}\"><use href=\"#s{id}\"/></clipPath>"
        );
        let (lit, dark, up) = (hex(tone.base), hex(tone.dark), shade / 3);
        self.put(format_args!(
            "<g clip-path=\"url(#c{id})\"><use href=\"#s{id}\" fill=\"{dark}\"/><use href=\"#s{id}\" fill=\"{lit}\" transform=\"translate(-{shade} -{up})\"/>"
        ));
        on_it(self);
        self.put(format_args!("</g>"));
    }

    /// A solid in the colour of the variant with the pattern of the product on it.
    pub(super) fn cloth(&mut self, d: &str, shade: i32) {
        let main = self.main;
        self.solid_with(d, main, shade, |p| p.motif());
    }

    /// Fills everything (inside the current clip) with the product's pattern.
    pub(super) fn motif(&mut self) {
        let ink = if self.main.is_pale() { self.mate.base } else { CREAM.base };
        let tile = match self.pattern {
            1 => "width=\"48\" height=\"48\"><path d=\"M0 10h48M0 22h48\" stroke-width=\"5\"",
            2 => "width=\"34\" height=\"34\"><path d=\"M9 9h0M26 26h0\" stroke-width=\"9\"",
            3 => {
                "width=\"40\" height=\"28\"><path d=\"M-10 16q10-12 20 0t20 0 20 0\" stroke-width=\"4.5\""
            }
            4 => {
                "width=\"30\" height=\"30\"><path d=\"M-3 18 18-3M12 33 33 12\" stroke-width=\"3.5\""
            }
            _ => return,
        };
        if !self.has_pattern {
            self.has_pattern = true;
            let _ = write!(
                self.defs,
                "<pattern id=\"p\" patternUnits=\"userSpaceOnUse\" {tile} fill=\"none\" stroke=\"{}\" stroke-linecap=\"round\"/></pattern>",
                hex(ink)
            );
        }
        self.put(format_args!("<path d=\"M0 0h480v480H0z\" fill=\"url(#p)\" opacity=\".5\"/>"));
    }

    pub(super) fn group(&mut self, transform: &str, inner: impl FnOnce(&mut Self)) {
        self.put(format_args!("<g transform=\"{transform}\">"));
        inner(self);
        self.put(format_args!("</g>"));
    }

    /// Light around a flame or a bulb, fading outwards.
    pub(super) fn glow(&mut self, x: i32, y: i32, r: i32) {
        self.gradient("h", "<radialGradient id=\"h\"><stop offset=\".2\" stop-color=\"#ffe08a\" stop-opacity=\".75\"/><stop offset=\"1\" stop-color=\"#ffe08a\" stop-opacity=\"0\"/></radialGradient>");
        self.put(format_args!("<circle cx=\"{x}\" cy=\"{y}\" r=\"{r}\" fill=\"url(#h)\"/>"));
    }

    /// Light that falls from a shade, fading downwards.
    pub(super) fn beam(&mut self, d: &str) {
        self.gradient("b", "<linearGradient id=\"b\" x2=\"0\" y2=\"1\"><stop stop-color=\"#ffe08a\" stop-opacity=\".7\"/><stop offset=\"1\" stop-color=\"#ffe08a\" stop-opacity=\"0\"/></linearGradient>");
        self.put(format_args!("<path d=\"{d}\" fill=\"url(#b)\"/>"));
    }

    fn gradient(&mut self, id: &str, definition: &str) {
        if !self.defs.contains(&format!("Gradient id=\"{id}\"")) {
            self.defs.push_str(definition);
        }
    }

    /// The soft shadow on the table under something `half` as wide, standing at `x`.
    pub(super) fn stands(&mut self, x: i32, half: i32) {
        let shadow = hex(self.shadow);
        self.put(format_args!(
            "<ellipse cx=\"{}\" cy=\"389\" rx=\"{}\" ry=\"{}\" fill=\"{shadow}\"/>",
            x + half / 7,
            half + half / 10,
            7 + half / 14
        ));
    }

    /// The shadow of an outline on the wall or cloth behind it.
    pub(super) fn casts(&mut self, d: &str) {
        let shadow = hex(self.shadow);
        self.put(format_args!(
            "<path d=\"{d}\" fill=\"{shadow}\" transform=\"translate(14 18)\"/>"
        ));
    }

    /// The shadow of a line.
    pub(super) fn casts_line(&mut self, d: &str, width: f32) {
        let shadow = self.shadow;
        self.group("translate(12 16)", |p| p.line(d, shadow, width));
    }
}

/// Outline of an ellipse.
pub(super) fn oval(x: i32, y: i32, rx: i32, ry: i32) -> String {
    format!("M{} {y}a{rx} {ry} 0 1 1 {} 0a{rx} {ry} 0 1 1-{} 0z", x - rx, 2 * rx, 2 * rx)
}

/// Outline of a rectangle with round corners.
pub(super) fn slab(x: i32, y: i32, w: i32, h: i32, r: i32) -> String {
    let (iw, ih) = (w - 2 * r, h - 2 * r);
    format!(
        "M{} {y}h{iw}a{r} {r} 0 0 1 {r} {r}v{ih}a{r} {r} 0 0 1-{r} {r}h-{iw}a{r} {r} 0 0 1-{r}-{r}v-{ih}a{r} {r} 0 0 1 {r}-{r}z",
        x + r
    )
}

/// Outline of an upright cylinder from `top` to `foot`, seen a little from above.
pub(super) fn drum(x: i32, half: i32, top: i32, foot: i32, ry: i32) -> String {
    let h = foot - top - ry;
    format!("M{} {top}v{h}a{half} {ry} 0 0 0 {} 0v-{h}z", x - half, 2 * half)
}

/// Outline of a cup-like body: wide at the top, narrower at the foot, with a curved bottom edge.
pub(super) fn taper(x: i32, top_half: i32, top: i32, foot_half: i32, foot: i32, ry: i32) -> String {
    format!(
        "M{} {top}L{} {}a{foot_half} {ry} 0 0 0 {} 0L{} {top}z",
        x - top_half,
        x - foot_half,
        foot - ry,
        2 * foot_half,
        x + top_half
    )
}
