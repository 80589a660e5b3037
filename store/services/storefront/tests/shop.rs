//! The running shop, as people meet it, before fakes that can be away.
#![expect(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod browser;
mod fakes;

use std::time::{Duration, Instant};

use axum::http::Method;
use browser::{Browser, Page, check_page};
use fakes::{Fakes, Mood, NAMES};
use serde_json::json;
use store_kit::Clock;
use store_testing::{Program, eventually};

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

#[tokio::test]
async fn every_page_is_accessible_safe_and_whole_without_scripts() {
    let f = Fixture::start().await;
    let mut b = f.with_mugs().await;
    let paths = [
        "/",
        "/c/kitchen",
        "/c/kitchen/cups",
        "/search",
        "/search?q=mgu",
        "/search?q=nothing",
        "/p/hesk-mug",
        "/p/storm-lantern",
        "/cart",
        "/checkout/address",
        "/account/sign-in",
        "/account/register",
        "/nowhere",
        "/p/none",
        "/c/none",
    ];
    for language in ["en", "fr"] {
        b.language = language;
        for path in paths {
            let page = b.get(path).await;
            check_page(&page);
            assert!(page.has(&format!("<html lang=\"{language}\">")), "{path}");
        }
    }
    b.language = "en";
    let review = f.at_review(&mut b).await;
    check_page(&review);
    for path in ["/checkout/delivery", "/checkout/payment"] {
        check_page(&b.get(path).await);
    }
    let order = b.submit(&review, "/checkout/submit", &[]).await;
    check_page(&order);
    check_page(&b.get("/orders").await);
    check_page(&b.get("/cart").await);
    f.member(&mut b).await;
    check_page(&b.get("/account").await);
}

#[tokio::test]
async fn what_others_write_is_shown_and_never_run() {
    let f = Fixture::start().await;
    let mut b = f.with_mugs().await;
    for path in
        ["/", "/c/kitchen", "/p/hesk-mug", "/cart", "/search?q=%3Cscript%3Ealert(1)%3C/script%3E"]
    {
        let page = b.get(path).await;
        assert!(page.has("Mug &lt;i&gt;"), "{path}");
        assert!(!page.has("<i>") && !page.has("<script>alert") && !page.has("<b>good"), "{path}");
    }
}

#[tokio::test]
async fn a_guest_buys_without_a_script_and_a_double_click_makes_one_order() {
    let f = Fixture::start().await;
    let mut b = f.with_mugs().await;
    let review = f.at_review(&mut b).await;
    assert!(review.has("Place the order") && review.has("€50.70"), "{}", review.html);
    let before = b.cookies.clone();
    let first = b.submit(&review, "/checkout/submit", &[]).await;
    b.cookies = before;
    let second = b.submit(&review, "/checkout/submit", &[]).await;
    let third = b.submit(&review, "/checkout/submit", &[]).await;
    assert!(first.url.starts_with("/orders/ord_"), "{}", first.url);
    assert_eq!((&first.url, &first.url), (&second.url, &third.url));
    let sent: Vec<String> =
        f.fakes.with(|w| w.log.iter().filter(|l| l.starts_with("submit")).cloned().collect());
    assert!(
        sent.len() >= 2 && sent.iter().all(|l| *l == sent[0]),
        "the same key each time: {sent:?}"
    );
    assert_eq!(f.fakes.with(|w| w.orders.len()), 1);
    let guests = f.fakes.with(|w| w.log.iter().filter(|l| l.starts_with("guest")).count());
    assert_eq!(guests, 1);
    assert!(
        first.has("Order received")
            && first.has("http-equiv=\"refresh\"")
            && first.has("/phone/?order=ord_"),
        "{}",
        first.html
    );
    assert!(b.get("/cart").await.has("Your basket is empty"));
}

#[tokio::test]
async fn a_wrong_address_is_explained_at_its_field_and_nothing_typed_is_lost() {
    let f = Fixture::start().await;
    let mut b = f.with_mugs().await;
    let page = b.get("/checkout/address").await;
    let page = b
        .submit(
            &page,
            "/checkout/address",
            &[("name", "Somebody"), ("email", "x"), ("country", "XX"), ("phone", "1")],
        )
        .await;
    for text in [
        "id=\"email-error\"",
        "id=\"phone-error\"",
        "id=\"line1-error\"",
        "value=\"Somebody\"",
        "aria-invalid=\"true\"",
        "choose a country",
    ] {
        assert!(page.has(text), "{text}:\n{}", page.html);
    }
    check_page(&page);
    let page = b.get("/checkout/address?example=1").await;
    let page = b.submit(&page, "/checkout/address", &[("postcode", "BAD")]).await;
    assert!(page.has("not a postcode there is") && page.has("1 Lighthouse Road"), "{}", page.html);
}

#[tokio::test]
async fn steps_cannot_be_skipped_and_an_empty_basket_has_no_checkout() {
    let f = Fixture::start().await;
    let mut b = f.browser();
    for step in [
        "/checkout",
        "/checkout/delivery",
        "/checkout/payment",
        "/checkout/review",
        "/checkout/address",
    ] {
        assert_eq!(b.get(step).await.url, "/cart", "{step}");
    }
    let mut b = f.with_mugs().await;
    for step in ["/checkout", "/checkout/delivery", "/checkout/payment", "/checkout/review"] {
        assert_eq!(b.get(step).await.url, "/checkout/address", "{step}");
    }
    let forged = b.get("/checkout/payment?payment_token=tok_ok&state=AAAA").await;
    assert_eq!(forged.url, "/checkout/address");
    let page = b.get("/checkout/address?example=1").await;
    b.submit(&page, "/checkout/address", &[]).await;
    let forged =
        b.get("/checkout/payment?payment_token=tok_ok&state=AAAAAAAAAAAAAAAAAAAAAAAA").await;
    assert!(forged.has("could not be matched"), "a card that did not start here is not taken");
    assert_eq!(b.get("/checkout/review").await.url, "/checkout/delivery");
}

#[tokio::test]
async fn forms_of_other_sites_and_of_old_pages_change_nothing() {
    let f = Fixture::start().await;
    let mut b = f.browser();
    let page = b.get("/p/hesk-mug").await;
    let fields = page.form("/cart/lines");
    let without: Vec<_> = fields.iter().filter(|(n, _)| n != "form_token").cloned().collect();
    assert_eq!(b.post("/cart/lines", &without).await.status, 403);
    let body = serde_urlencoded::to_string(&fields).unwrap();
    let elsewhere = b
        .go(Method::POST, "/cart/lines", Some(body.clone()), &[("sec-fetch-site", "cross-site")])
        .await;
    assert_eq!(elsewhere.status, 403);
    let mut other = f.browser();
    other.get("/").await;
    let stolen = other.go(Method::POST, "/cart/lines", Some(body), &[]).await;
    assert!(stolen.status == 403 && stolen.has("try that once more"), "{}", stolen.html);
    assert!(f.fakes.with(|w| w.log.is_empty()));
}

#[tokio::test]
async fn a_changed_cookie_is_a_new_visitor_and_never_an_error() {
    let f = Fixture::start().await;
    let mut b = f.with_mugs().await;
    let good = b.cookies["shop"].clone();
    for bad in
        ["", "x", ".", "a.b", &good[1..], &format!("{good}x"), &"é".repeat(20), &"A".repeat(5000)]
    {
        b.cookies.insert(
            "shop".into(),
            bad.bytes().map(|c| if c.is_ascii() { c as char } else { '_' }).collect(),
        );
        let page = b.get("/cart").await;
        assert!(page.status == 200 && page.has("Your basket is empty"), "{bad}");
    }
    let page = f.browser().once(Method::GET, "/", None, &[("x-forwarded-proto", "https")]).await;
    let cookie = page.headers["set-cookie"].to_str().unwrap();
    for part in ["HttpOnly", "SameSite=Lax", "Secure", "Path=/"] {
        assert!(cookie.contains(part), "{cookie}");
    }
}

#[tokio::test]
async fn strange_requests_get_a_page_and_no_panic() {
    let f = Fixture::start().await;
    let mut b = f.browser();
    let long = format!("/{}", "x".repeat(3000));
    let paths: [&str; 17] = [
        "/p/%00",
        "/p/..%2F..%2Fetc",
        "/c/%F0%9F%92%A9",
        "/search?q=%FF&min=a&max=-1&sort=x&cursor=%00",
        "/search?q=a&q=b",
        "/orders/x",
        "/orders/ord_1/live",
        "/orders/ord_1/card?payment_token=x",
        "/lang/xx?back=//evil.test",
        "/lang/fr?back=https://evil.test",
        "/media/..%2Fx.svg",
        "/media/x",
        "/static/x",
        "/account/addresses/x/remove",
        "/p/hesk-mug?v=%00",
        "/checkout/payment?payment_token=%0d%0a",
        &long,
    ];
    for path in paths {
        let page = b.get(path).await;
        assert!(page.status < 500, "{path}: {}", page.status);
    }
    for (method, path) in [
        (Method::POST, "/"),
        (Method::DELETE, "/cart"),
        (Method::PUT, "/nope"),
        (Method::GET, "/cart/lines"),
    ] {
        let page = b.go(method.clone(), path, None, &[]).await;
        assert!(matches!(page.status, 404 | 405), "{method} {path}: {}", page.status);
        check_page(&page);
    }
    let page = b.get("/p/hesk-mug").await;
    for sku in ["", "a/b", &"x".repeat(200), "no-such"] {
        let page = b.submit(&page, "/cart/lines", &[("sku", sku), ("qty", "99999999999999")]).await;
        assert!(page.status < 500, "{sku}: {}", page.status);
    }
    let big = b.go(Method::POST, "/cart/lines", Some("x".repeat(300_000)), &[]).await;
    assert!(matches!(big.status, 413 | 403), "{}", big.status);
    let errors: Vec<_> = f.shop.log().into_iter().filter(|l| l["level"] == "error").collect();
    assert!(errors.is_empty(), "{errors:?}");
}

#[tokio::test]
async fn the_language_follows_the_browser_until_it_is_chosen() {
    let f = Fixture::start().await;
    let mut b = f.browser();
    b.language = "fr-FR,fr;q=0.9";
    assert!(b.get("/").await.has("Bonnes choses") || b.get("/").await.has("bonnes choses"));
    let page = b.get("/lang/en?back=/p/hesk-mug").await;
    assert!(
        page.url == "/p/hesk-mug" && page.has("Add to basket") && page.has("€18.90"),
        "{}",
        page.url
    );
    let page = b.get("/lang/fr?back=//evil.test").await;
    assert!(page.url == "/" && page.has("Panier"), "{}", page.url);
    assert!(b.get("/p/hesk-mug").await.has("18,90\u{a0}€"));
}

#[tokio::test]
async fn prices_that_changed_are_shown_and_agreed_to() {
    let f = Fixture::start().await;
    let mut b = f.with_mugs().await;
    f.at_review(&mut b).await;
    f.fakes.with(|w| w.prices.insert("MUG-1-COR".into(), 2190));
    let page = b.get("/checkout/review").await;
    assert!(
        page.has("Prices have changed") && page.has("€18.90") && page.has("€21.90"),
        "{}",
        page.html
    );
    // The catalogue's answer may be three seconds old.
    eventually("the new price", || {
        let (mut b, page) = (b.window(), page.clone());
        async move {
            let page = b.submit(&page, "/cart/prices", &[]).await;
            let agreed = page.has("Place the order") && page.has("€56.70");
            if agreed { Ok(()) } else { Err(page.url) }
        }
    })
    .await;
}

#[tokio::test]
async fn a_basket_is_changed_line_by_line() {
    let f = Fixture::start().await;
    let mut b = f.with_mugs().await;
    let page = b.get("/cart").await;
    let page = b.submit(&page, "/cart/lines/MUG-1-COR", &[("qty", "5"), ("remove", "")]).await;
    assert!(page.has("Your basket is empty"), "the remove button was pressed");
    let mut b = f.with_mugs().await;
    let page = b.get("/cart").await;
    let fields: Vec<_> = page
        .form("/cart/lines/MUG-1-COR")
        .into_iter()
        .map(|(n, v)| if n == "qty" { (n, "20".into()) } else { (n, v) })
        .collect();
    let page = b.post("/cart/lines/MUG-1-COR", &fields).await;
    assert!(page.has("value=\"20\"") && page.has("€378.00"), "{}", page.html);
    assert!(page.has("Only 12 left"), "more than there is on the shelf: {}", page.html);
    let count = b.get("/cart/count").await;
    assert_eq!(count.html, "{\"count\":20,\"words\":\"20\u{a0}items\"}");
}

#[tokio::test]
async fn a_product_shows_what_is_left_of_each_variant() {
    let f = Fixture::start().await;
    let mut b = f.browser();
    let page = b.get("/p/hesk-mug?v=MUG-1-INK").await;
    assert!(page.has("This is the last one") && page.has("€19.90"), "{}", page.html);
    let page = b.get("/p/storm-lantern").await;
    assert!(page.has("Sold out for now") && page.has("disabled"), "{}", page.html);
    let page = b.get("/p/hesk-mug?v=MUG-1-COR").await;
    assert!(page.has("ready to pack") && page.has("<option value=\"9\">"), "{}", page.html);
}

// ---- services that are away --------------------------------------------------------------------

#[tokio::test]
async fn without_catalog_pages_seen_before_are_shown_with_a_note() {
    let f = Fixture::with_budget("1500").await;
    let mut b = f.with_mugs().await;
    for path in ["/", "/c/kitchen", "/p/hesk-mug"] {
        assert!(!b.get(path).await.has("catching its breath"), "{path}");
    }
    let image = b.get("/media/mug-coral.svg").await;
    assert_eq!(
        (image.status, &image.headers["content-type"]),
        (200, &"image/svg+xml".parse().unwrap())
    );
    for mood in [Mood::Away, Mood::Hanging] {
        f.fakes.set("catalog", mood);
        for path in ["/", "/c/kitchen", "/p/hesk-mug"] {
            // Answers up to three seconds old need no catalogue.
            let page = eventually("the note", || {
                let mut b = b.window();
                async move {
                    let began = Instant::now();
                    let page = b.get(path).await;
                    assert!(
                        page.status == 200 && page.has("Mug &lt;i&gt;"),
                        "{path}: {}",
                        page.html
                    );
                    assert!(
                        began.elapsed() < Duration::from_millis(2500),
                        "{path} took {:?}",
                        began.elapsed()
                    );
                    if page.has("catching its breath") {
                        Ok(page)
                    } else {
                        Err(page.status.to_string())
                    }
                }
            });
            check_page(&page.await);
        }
        assert_eq!(b.get("/media/mug-coral.svg").await.status, 200, "a picture seen before");
        let cart = b.get("/cart").await;
        assert!(cart.status == 200 && cart.has("€37.80"), "the basket goes on: {}", cart.html);
        let never = b.get("/p/never-seen").await;
        assert!(never.status == 503 && never.has("Try again"), "{}", never.status);
        assert!(b.get("/checkout/address").await.status == 200, "the checkout goes on");
    }
}

#[tokio::test]
async fn a_catalog_that_hangs_costs_one_visitor_the_wait_and_not_every_one() {
    let f = Fixture::with_budget("800").await;
    f.fakes.set("catalog", Mood::Hanging);
    let mut b = f.browser();
    let began = Instant::now();
    let first = b.get("/").await;
    assert!(
        first.status == 200 && first.has("Good things"),
        "the home page stands without the catalogue"
    );
    check_page(&first);
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
    let (asked, began) = (f.fakes.asked("catalog"), Instant::now());
    for _ in 0..20 {
        b.get("/").await;
    }
    let (asked, took) = (f.fakes.asked("catalog") - asked, began.elapsed());
    assert!(asked <= 20, "twenty visitors asked a service that hangs {asked} times");
    assert!(took < Duration::from_secs(10), "twenty visitors waited {took:?}");
    f.fakes.set("catalog", Mood::Well);
    eventually("the shelves again", || {
        let mut b = f.browser();
        async move {
            if b.get("/").await.has("Kitchen &amp; tea") { Ok(()) } else { Err("empty".into()) }
        }
    })
    .await;
}

#[tokio::test]
async fn without_inventory_nothing_is_said_of_stock_and_buying_goes_on() {
    let f = Fixture::start().await;
    f.fakes.set("inventory", Mood::Away);
    let mut b = f.browser();
    let page = b.get("/p/hesk-mug?v=MUG-1-INK").await;
    assert!(
        page.status == 200 && !page.has("class=\"stock") && page.has("Add to basket"),
        "{}",
        page.html
    );
    assert!(b.get("/").await.has("Last few"), "the catalogue's badge is enough for a list");
    let mut b = f.with_mugs().await;
    f.at_review(&mut b).await;
}

#[tokio::test]
async fn without_cart_the_shop_stays_open() {
    let f = Fixture::start().await;
    let mut b = f.with_mugs().await;
    let product = b.get("/p/hesk-mug").await;
    f.fakes.set("cart", Mood::Away);
    assert_eq!(b.get("/").await.status, 200);
    for page in [
        b.submit(&product, "/cart/lines", &[]).await,
        b.get("/cart").await,
        b.get("/checkout").await,
    ] {
        assert_eq!(page.status, 503);
        assert!(page.has("Try again"), "{}", page.html);
        check_page(&page);
    }
    assert_eq!(
        b.get("/cart/count").await.html,
        "{\"count\":2,\"words\":\"2\u{a0}items\"}",
        "what was known last"
    );
    f.fakes.set("cart", Mood::Well);
    assert!(b.get("/cart").await.has("€37.80"), "nothing was lost");
}

#[tokio::test]
async fn without_customers_members_buy_and_guests_keep_what_they_typed() {
    let f = Fixture::start().await;
    let mut member = f.with_mugs().await;
    f.member(&mut member).await;
    let mut guest = f.with_mugs().await;
    f.fakes.set("customers", Mood::Away);
    let (order, _) = f.ordered(&mut member).await;
    assert!(order.has("Order received"), "a member needs no customers service to buy");
    let account = member.get("/account").await;
    assert!(
        account.status == 200
            && account.has("Example Member")
            && account.has("cannot be shown just now"),
        "{}",
        account.html
    );
    check_page(&account);

    let page = guest.get("/checkout/address?example=1").await;
    let page = guest.submit(&page, "/checkout/address", &[("city", "My Town")]).await;
    assert!(
        page.has("cannot take down contact details") && page.has("value=\"My Town\""),
        "{}",
        page.html
    );
    f.fakes.set("customers", Mood::Well);
    let page = guest.submit(&page, "/checkout/address", &[]).await;
    assert_eq!(page.url, "/checkout/delivery");

    f.fakes.set("customers", Mood::Away);
    let mut visitor = f.browser();
    let page = visitor.get("/account/sign-in").await;
    let page = visitor
        .submit(
            &page,
            "/account/sign-in",
            &[("email", "m@example.test"), ("password", "a good long one")],
        )
        .await;
    assert!(page.status == 503 && page.has("go on as a guest"), "{}", page.html);
    check_page(&page);
}

#[tokio::test]
async fn without_checkout_the_basket_is_safe() {
    let f = Fixture::start().await;
    let mut b = f.with_mugs().await;
    let review = f.at_review(&mut b).await;
    f.fakes.set("checkout", Mood::Away);
    for path in ["/checkout/delivery", "/checkout/payment", "/checkout/review"] {
        let page = b.get(path).await;
        assert!(page.status == 503 && page.has("basket is safe"), "{path}: {}", page.html);
        check_page(&page);
    }
    let page = b.submit(&review, "/checkout/submit", &[]).await;
    assert!(page.status == 503 && page.has("it can only become one order"), "{}", page.html);
    f.fakes.set("checkout", Mood::Well);
    let page = b.submit(&review, "/checkout/submit", &[]).await;
    assert!(page.url.starts_with("/orders/ord_"), "{}", page.url);
    assert_eq!(f.fakes.with(|w| w.orders.len()), 1);
}

#[tokio::test]
async fn without_orders_an_order_is_taken_and_followed_once_it_can_be() {
    let f = Fixture::start().await;
    let mut b = f.with_mugs().await;
    let review = f.at_review(&mut b).await;
    f.fakes.set("orders", Mood::Away);
    let page = b.submit(&review, "/checkout/submit", &[]).await;
    assert_eq!(page.status, 200);
    assert!(page.has("We have your order") && page.has("being handed over"), "{}", page.html);
    check_page(&page);
    let list = b.get("/orders").await;
    assert!(list.status == 503 && list.has("go on without this page"), "{}", list.html);
    let (status, mut live) = b.stream(&format!("{}/live", page.url)).await;
    assert_eq!(status, 200);
    assert_eq!(live.next().await.unwrap().0, "waiting");
    f.fakes.set("orders", Mood::Well);
    let piece = loop {
        let (event, data) = live.next().await.expect("it stays open");
        if event == "order" {
            break data;
        }
    };
    assert!(piece.contains("Order received"), "{piece}");
}

// ---- orders --------------------------------------------------------------------------------------

#[tokio::test]
async fn an_order_is_followed_live_to_its_end() {
    let f = Fixture::start().await;
    let mut b = f.with_mugs().await;
    let (_, id) = f.ordered(&mut b).await;
    let (status, mut live) = b.stream(&format!("/orders/{id}/live")).await;
    assert_eq!(status, 200);
    assert!(live.next().await.unwrap().1.contains("We have your order"));
    for (order_status, step, shows) in [
        ("RECEIVED", "texted", "Read it"),
        ("PACKED", "packed", "Packed and taped"),
        ("DISPATCHED", "dispatched", "OST-1"),
        ("COMPLETED", "delivered", "It has arrived"),
    ] {
        f.fakes.order(&id, |order| {
            order["status"] = json!(order_status);
            order["tracking"] = json!("OST-1");
            order["timeline"]
                .as_array_mut()
                .unwrap()
                .push(json!({"step": step, "at": Clock::default().now(), "text": ""}));
        });
        let (event, piece) = live.next().await.unwrap();
        assert!(event == "order" && piece.contains(shows), "{shows}: {piece}");
    }
    assert!(live.next().await.is_none(), "the stream ends with the order");
    let page = b.get(&format!("/orders/{id}")).await;
    assert!(
        !page.has("http-equiv=\"refresh\"") && !page.has("data-live=\""),
        "nothing more to wait for"
    );
    assert!(b.get("/orders").await.has(&id));
}

#[tokio::test]
async fn nobody_sees_the_order_of_somebody_else() {
    let f = Fixture::start().await;
    let mut b = f.with_mugs().await;
    let (_, id) = f.ordered(&mut b).await;
    let mut stranger = f.browser();
    let page = stranger.get(&format!("/orders/{id}")).await;
    assert!(page.url.starts_with("/account/sign-in"), "{}", page.url);
    assert_eq!(stranger.stream(&format!("/orders/{id}/live")).await.0, 204);
    let mut other = f.with_mugs().await;
    let page = other.get("/checkout/address?example=1").await;
    other.submit(&page, "/checkout/address", &[]).await;
    assert_eq!(other.get(&format!("/orders/{id}")).await.status, 404);
    let (_, mut live) = other.stream(&format!("/orders/{id}/live")).await;
    assert_eq!(live.next().await.unwrap().0, "ended");
}

#[tokio::test]
async fn an_order_says_what_it_needs() {
    let f = Fixture::start().await;
    let mut b = f.with_mugs().await;
    let (page, id) = f.ordered(&mut b).await;
    let cancelled = b.submit(&page, &format!("/orders/{id}/cancel"), &[]).await;
    assert!(cancelled.has("We are cancelling it"), "{}", cancelled.html);
    f.fakes.order(&id, |o| o["cancellable"] = json!(false));
    let late = b.submit(&page, &format!("/orders/{id}/cancel"), &[]).await;
    assert!(late.has("too late to cancel") && !late.has("Cancel this order"), "{}", late.html);

    f.fakes.order(&id, |o| {
        o["status"] = json!("AWAITING_ACTION");
        o["action"] = json!({"kind": "authenticate", "url": "/psp/3ds/pi_1"});
    });
    let page = b.get(&format!("/orders/{id}")).await;
    assert!(
        page.has("href=\"/psp/3ds/pi_1\"") && page.has("Your bank has a question"),
        "{}",
        page.html
    );
    f.fakes.order(&id, |o| o["action"]["url"] = json!("javascript:alert(1)"));
    check_page(&b.get(&format!("/orders/{id}")).await);

    f.fakes.order(&id, |o| {
        o["status"] = json!("AWAITING_METHOD");
        o["action"] = json!({"kind": "new_card"});
    });
    let page = b.get(&format!("/orders/{id}")).await;
    let back = return_of(&page.link("/psp/pay"));
    assert!(
        b.get(&format!("/orders/{id}/card?payment_token=tok_evil&state=x"))
            .await
            .has("not needed or not accepted")
    );
    let page = b.get(&format!("{back}&payment_token=tok_ok_2")).await;
    assert!(page.has("trying the new card"), "{}", page.html);
    assert_eq!(
        f.fakes.with(|w| w
            .log
            .iter()
            .filter(|l| l.starts_with("card"))
            .cloned()
            .collect::<Vec<_>>()),
        [format!("card {id} tok_ok_2")]
    );

    f.fakes.order(&id, |o| {
        o["action"] = json!({"kind": "something_new"});
        o["status"] = json!("LATER");
    });
    assert_eq!(
        b.get(&format!("/orders/{id}")).await.status,
        200,
        "what we have not heard of is no error"
    );
    f.fakes.order(&id, |o| {
        o["action"] = json!(null);
        o["status"] = json!("CANCELLED");
        o["reason"] = json!("out_of_stock");
        o["timeline"]
            .as_array_mut()
            .unwrap()
            .push(json!({"step": "cancelled", "at": Clock::default().now(), "text": ""}));
    });
    let page = b.get(&format!("/orders/{id}")).await;
    assert!(page.has("This order is cancelled") && !page.has("On its way"), "{}", page.html);
    assert!(page.has("Somebody was quicker"), "{}", page.html);
    check_page(&page);
    for (reason, said) in [
        ("sold_out", "Somebody was quicker"),
        ("short_pick", "something was missing on the shelf"),
        ("payment_declined", "did not go through in time"),
        ("payment_lost", "Your bank took its promise back"),
        ("capture_failed", "Your bank took its promise back"),
        ("cancelled_by_customer", "You asked us to"),
        ("inventory_unavailable", "Something on our side went wrong"),
    ] {
        f.fakes.order(&id, |o| o["reason"] = json!(reason));
        let page = b.get(&format!("/orders/{id}")).await;
        assert!(page.has(said) && page.has("held on your card is released"), "{reason}");
    }
    f.fakes.order(&id, |o| o["status"] = json!("REFUNDED"));
    assert!(b.get(&format!("/orders/{id}")).await.has("on its way back to your card"));
    f.fakes.order(&id, |o| o["status"] = json!("CANCELLED"));
    f.fakes.reopen_carts();
    let cart = b.submit(&page, &format!("/orders/{id}/basket"), &[]).await;
    assert!(cart.url == "/cart" && cart.has("€37.80"), "everything is in the basket again");
}

// ---- accounts --------------------------------------------------------------------------------------

#[tokio::test]
async fn a_member_registers_keeps_an_address_and_takes_the_basket_along() {
    let f = Fixture::start().await;
    let mut b = f.with_mugs().await;
    let page = b.get("/account/register").await;
    let page = b
        .submit(
            &page,
            "/account/register",
            &[
                ("name", "N"),
                ("email", "m@example.test"),
                ("phone", "+33639980001"),
                ("password", "short"),
            ],
        )
        .await;
    assert!(page.status == 422 && page.has("at least ten characters"), "{}", page.html);
    check_page(&page);
    f.member(&mut b).await;
    assert!(b.get("/cart").await.has("€37.80"), "the basket came along");
    let page = b.get("/account").await;
    let page = b
        .submit(
            &page,
            "/account/addresses",
            &[
                ("name", "N"),
                ("line1", "1 Quay"),
                ("postcode", "29000"),
                ("city", "Port"),
                ("country", "FR"),
            ],
        )
        .await;
    assert!(page.has("Address kept") && page.has("1 Quay"), "{}", page.html);
    assert!(
        b.get("/checkout/address").await.has("value=\"1 Quay\""),
        "and is filled in at the checkout"
    );
    let page = b.submit(&page, "/account/sign-out", &[]).await;
    assert!(page.url == "/" && !page.has("Example"), "{}", page.url);
    let page = b.get("/account/sign-in?back=/cart").await;
    let wrong = b
        .submit(
            &page,
            "/account/sign-in",
            &[("email", "m@example.test"), ("password", "wrong one here")],
        )
        .await;
    assert!(
        wrong.status == 422 && wrong.has("do not go together") && !wrong.has("wrong one here"),
        "{}",
        wrong.html
    );
    let page = b
        .submit(
            &page,
            "/account/sign-in",
            &[("email", "m@example.test"), ("password", "a good long one")],
        )
        .await;
    assert!(
        page.url == "/cart" && page.has("€37.80"),
        "the member's own basket is back: {}",
        page.html
    );
    let evil = b.get("/account/sign-in?back=//evil.test").await;
    let page = b
        .submit(
            &evil,
            "/account/sign-in",
            &[("email", "m@example.test"), ("password", "a good long one")],
        )
        .await;
    assert_eq!(page.url, "/");
}

#[tokio::test]
async fn many_requests_at_once_renew_a_sign_in_once() {
    let f = Fixture::start().await;
    f.fakes.with(|w| w.token_s = 1);
    let mut b = f.browser();
    f.member(&mut b).await;
    let mut at_once = tokio::task::JoinSet::new();
    for _ in 0..12 {
        let mut b = b.window();
        at_once.spawn(async move { b.get("/account").await });
    }
    while let Some(page) = at_once.join_next().await {
        let page = page.unwrap();
        assert!(page.has("Hello, Example Member"), "{}", page.html);
    }
    assert!(
        !f.fakes.with(|w| w.log.contains(&"family killed".to_owned())),
        "a refresh token was used twice"
    );
}

// ---- the program -----------------------------------------------------------------------------------

#[tokio::test]
async fn files_are_kept_for_ever_and_named_by_their_content() {
    let f = Fixture::start().await;
    let mut b = f.browser();
    let home = b.get("/").await;
    for file in home.html.split('"').filter(|t| t.starts_with("/static/")).collect::<Vec<_>>() {
        let page = b.get(file).await;
        assert_eq!(page.status, 200, "{file}");
        assert!(page.headers["cache-control"].to_str().unwrap().contains("immutable"), "{file}");
        assert!(page.headers.contains_key("x-content-type-options"));
    }
    assert!(home.headers["cache-control"].to_str().unwrap().contains("private"));
    assert_eq!(b.get("/robots.txt").await.status, 200);
    let asked = f.fakes.asked("catalog");
    for _ in 0..5 {
        b.get("/").await;
    }
    assert_eq!(
        f.fakes.asked("catalog"),
        asked,
        "a busy home page asks the catalogue once in a while"
    );
}

#[tokio::test]
async fn it_stops_when_told_even_with_pages_open() {
    let f = Fixture::start().await;
    let mut b = f.with_mugs().await;
    let (_, id) = f.ordered(&mut b).await;
    let (_, mut live) = b.stream(&format!("/orders/{id}/live")).await;
    live.next().await.unwrap();
    let began = Instant::now();
    assert!(f.shop.terminate().success());
    assert!(began.elapsed() < Duration::from_millis(4900), "{:?}", began.elapsed());
}

#[test]
fn a_wrong_environment_is_named() {
    for (vars, wanted) in [
        (vec![], "SESSION_KEY"),
        (vec![("SESSION_KEY", "short")], "at least 16"),
        (vec![("SESSION_KEY", "a key that is long enough")], "CATALOG_URL"),
    ] {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_storefront"))
            .env_clear()
            .envs(vars)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(!output.status.success() && said.contains(wanted), "{said}");
    }
}

#[tokio::test]
async fn the_pages_are_those_of_the_openapi_file() {
    let f = Fixture::start().await;
    let contract = store_testing::Contract::load(env!("CARGO_MANIFEST_DIR"));
    let callee = f.shop.callee();
    for path in ["/healthz", "/readyz", "/_archipel/info", "/cart/count"] {
        assert_eq!(contract.send("GET", path, callee.get(path)).await.status, 200, "{path}");
    }
    let file =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/openapi.yaml")).unwrap();
    let paths: Vec<&str> =
        file.lines().filter_map(|l| l.strip_prefix("  /")?.strip_suffix(':')).collect();
    assert!(paths.len() > 30, "{paths:?}");
    let mut b = f.browser();
    for path in paths {
        let path = format!(
            "/{}",
            path.replace("{path}", "kitchen")
                .replace("{slug}", "hesk-mug")
                .replace("{id}", "ord_0")
                .replace("{sku}", "X")
                .replace("{tag}", "en")
                .replace("{file}", "x.svg")
        );
        let page = b.once(Method::PATCH, &path, None, &[]).await;
        assert_eq!(page.status, 405, "{path} is in the file and not in the shop");
    }
}
