//! The page of an order.

use serde_json::json;
use store_kit::Clock;

use crate::browser::check_page;
use crate::{Fixture, return_of};

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
