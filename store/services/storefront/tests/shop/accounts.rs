//! Accounts.

use crate::Fixture;
use crate::browser::check_page;

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
