//! The running shop, as people meet it, before fakes that can be away.
#![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod accounts;
mod away;
mod browser;
mod buying;
mod fakes;
mod orders;
mod program;

use browser::{Browser, Page};
use fakes::{Fakes, NAMES};
use store_testing::Program;

struct Fixture {
    fakes: Fakes,
    shop: Program,
    _dir: tempfile::TempDir,
}

impl Fixture {
    /// With a budget for panels that a busy machine can keep.
    async fn start() -> Self {
        Self::with_budget("8000").await
    }

    async fn with_budget(panel_ms: &str) -> Self {
        let fakes = Fakes::start().await;
        let dir = tempfile::tempdir().unwrap();
        let urls: Vec<(String, String)> = NAMES
            .iter()
            .map(|n| (format!("{}_URL", n.to_uppercase()), fakes.urls[n].clone()))
            .collect();
        let mut vars: Vec<(&str, &str)> =
            urls.iter().map(|(n, u)| (n.as_str(), u.as_str())).collect();
        vars.push(("SESSION_KEY", "a key that is long enough for a test"));
        vars.push(("PANEL_BUDGET_MS", panel_ms));
        let shop =
            Program::start(env!("CARGO_BIN_EXE_storefront"), &dir.path().join("none"), &vars);
        Self { fakes, shop, _dir: dir }
    }

    fn browser(&self) -> Browser {
        Browser::new(&self.shop.url())
    }

    /// A browser with two coral mugs in its basket.
    async fn with_mugs(&self) -> Browser {
        let mut b = self.browser();
        let page = b.get("/p/hesk-mug?v=MUG-1-COR").await;
        let cart = b.submit(&page, "/cart/lines", &[("qty", "2")]).await;
        assert!(cart.url.starts_with("/cart") && cart.has("€37.80"), "{}", cart.html);
        b
    }

    /// Through the checkout up to the review.
    async fn at_review(&self, b: &mut Browser) -> Page {
        let page = b.get("/checkout/address?example=1").await;
        let page = b.submit(&page, "/checkout/address", &[]).await;
        assert_eq!(page.url, "/checkout/delivery", "{}", page.html);
        let page = b.submit(&page, "/checkout/delivery", &[("shipping_option", "express")]).await;
        assert_eq!(page.url, "/checkout/payment");
        let back = return_of(&page.link("/psp/pay"));
        let page = b.get(&format!("{back}&payment_token=tok_ok_42")).await;
        assert_eq!(page.url, "/checkout/review", "{}", page.html);
        page
    }

    /// A guest's order and its address.
    async fn ordered(&self, b: &mut Browser) -> (Page, String) {
        let review = self.at_review(b).await;
        let page = b.submit(&review, "/checkout/submit", &[]).await;
        let id = page.url.trim_start_matches("/orders/").to_owned();
        (page, id)
    }

    async fn member(&self, b: &mut Browser) {
        let page = b.get("/account/register").await;
        let page = b
            .submit(
                &page,
                "/account/register",
                &[
                    ("name", "Example Member"),
                    ("email", "m@example.test"),
                    ("phone", "+33 6 39 98 00 01"),
                    ("password", "a good long one"),
                ],
            )
            .await;
        assert!(page.has("Hello, Example Member"), "{}", page.html);
    }
}

/// The `return_url` of a link to the card page.
fn return_of(link: &str) -> String {
    let (_, query) = link.split_once('?').unwrap();
    let pairs: Vec<(String, String)> = serde_urlencoded::from_str(query).unwrap();
    pairs.into_iter().find(|(n, _)| n == "return_url").unwrap().1
}
