//! The web console as files: what `ui/` was built into, or why it could not be built.
//!
//! A crate of its own so that only a change below `ui/` runs npm, and nothing else does.

/// One file of the bundle.
#[derive(Debug, Clone, Copy)]
pub struct File {
    /// Below the root of the site: `index.html`, `assets/index-4f2k.js`.
    pub path: &'static str,
    pub plain: &'static [u8],
    /// The same, compressed, where that is worth it.
    pub gzip: Option<&'static [u8]>,
}

impl File {
    pub fn media_type(&self) -> &'static str {
        match self.path.rsplit('.').next().unwrap_or_default() {
            "html" => "text/html; charset=utf-8",
            "js" => "text/javascript; charset=utf-8",
            "css" => "text/css; charset=utf-8",
            "svg" => "image/svg+xml",
            "json" => "application/json",
            _ => "application/octet-stream",
        }
    }

    /// Its name changes with its content.
    pub fn is_immutable(&self) -> bool {
        self.path.starts_with("assets/")
    }
}

/// The file at a path below the root of the site.
pub fn file(path: &str) -> Option<&'static File> {
    bundle::FILES.iter().find(|file| file.path == path)
}

/// Why there is no bundle in this binary.
pub fn missing() -> Option<&'static str> {
    bundle::MISSING
}

mod bundle {
    use super::File;
    include!(concat!(env!("OUT_DIR"), "/bundle.rs"));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The budget of the whole site, compressed: what a first visit loads at most.
    const FIRST_LOAD_BYTES_MAX: usize = 250 << 10;

    #[test]
    fn the_first_load_stays_small_and_asks_nobody_else() {
        if let Some(why) = missing() {
            eprintln!("skipped: {why}");
            return;
        }
        let index = file("index.html").expect("a bundle has a first page");
        let compressed: usize =
            bundle::FILES.iter().map(|file| file.gzip.unwrap_or(file.plain).len()).sum();
        assert!(compressed < FIRST_LOAD_BYTES_MAX, "{compressed} bytes");
        let html = String::from_utf8_lossy(index.plain);
        assert!(!html.contains("http://") && !html.contains("https://"), "{html}");
        assert!(!html.contains("<style") && !html.contains("<script>"), "inline code: {html}");
    }
}
