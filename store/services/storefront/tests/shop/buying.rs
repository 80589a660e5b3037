//! Looking around and buying: every page, with and without scripts.

use axum::http::Method;
use store_testing::eventually;

use crate::Fixture;
use crate::browser::check_page;

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
