//! Services that are away cost the shop what they bring, and nothing else.

use std::time::{Duration, Instant};

use store_testing::eventually;

use crate::Fixture;
use crate::browser::check_page;
use crate::fakes::Mood;

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
