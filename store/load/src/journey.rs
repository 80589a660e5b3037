//! What people come for, and what they do when something is in their way.

use std::time::Duration;

use crate::browser::{Browser, GaveUp, Page};
use crate::html::{self, Form};
use crate::random::Random;
use crate::report::Notes;

const WORDS: &[&str] =
    &["lamp", "tea", "rope", "blanket", "knife", "map", "jar", "compass", "lantern"];

/// Cards of the provider, by how many people in a hundred carry them.
const CARDS: &[(&str, f64)] = &[
    ("ok", 0.92),
    ("decline", 0.03),
    ("3ds", 0.02),
    ("drop", 0.01),
    ("webhook_first", 0.01),
    ("webhook_thrice", 0.01),
];

const PASSWORD: &str = "a good long one";

/// A submit that failed is tried again with the same key, as the page says one may.
const SUBMIT_TRIES: u32 = 20;
const SUBMIT_PAUSE: Duration = Duration::from_millis(1_500);
/// How often, and how far apart, a buyer looks at the order.
const LOOKS: u32 = 30;
const LOOK_PAUSE: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Journey {
    Bouncer,
    Browser,
    Searcher,
    Leaver,
    Member,
    Buyer,
}

impl Journey {
    pub(crate) fn draw(random: &mut Random, buyers_only: bool) -> Self {
        if buyers_only {
            return Self::Buyer;
        }
        match random.share() {
            share if share < 0.42 => Self::Bouncer,
            share if share < 0.70 => Self::Browser,
            share if share < 0.83 => Self::Searcher,
            share if share < 0.90 => Self::Leaver,
            // The shop takes 20 sign-ins a minute from one address, and all of us have the same.
            share if share < 0.96 => Self::Member,
            _ => Self::Buyer,
        }
    }
}

/// One person from the door to the door.
pub(crate) struct Person<'a> {
    pub(crate) browser: Browser,
    pub(crate) random: Random,
    pub(crate) notes: &'a Notes,
    pub(crate) thinks: bool,
    /// Nobody else has it.
    pub(crate) name: String,
}

impl Person<'_> {
    pub(crate) async fn go(mut self, journey: Journey) -> Result<(), GaveUp> {
        match journey {
            Journey::Bouncer => self.open("home", "/").await.map(drop),
            Journey::Browser => self.look_around().await,
            Journey::Searcher => self.find().await.map(drop),
            Journey::Leaver => self.fill_basket().await.map(drop),
            Journey::Member => self.become_member().await,
            Journey::Buyer => self.buy().await,
        }
    }

    async fn open(&mut self, step: &'static str, path: &str) -> Result<Page, GaveUp> {
        let page = self.browser.open(step, path).await?;
        self.think().await;
        Ok(page)
    }

    async fn send(&mut self, step: &'static str, form: &Form) -> Result<Page, GaveUp> {
        let page = self.browser.send(step, form).await?;
        self.think().await;
        Ok(page)
    }

    async fn think(&mut self) {
        if self.thinks {
            let seconds = self.random.log_normal(0.6, 0.7).min(8.0);
            self.browser.think(Duration::from_secs_f64(seconds)).await;
        }
    }

    async fn look_around(&mut self) -> Result<(), GaveUp> {
        let home = self.open("home", "/").await?;
        let departments = html::links(&home.body, "/c/");
        if let Some(path) = self.random.zipf(&departments).cloned() {
            let list = self.open("list", &path).await?;
            let products = html::links(&list.body, "/p/");
            for _ in 0..2 {
                if let Some(path) = self.random.zipf(&products).cloned() {
                    self.open("product", &path).await?;
                }
            }
        }
        Ok(())
    }

    /// The products that a search finds.
    async fn find(&mut self) -> Result<Vec<String>, GaveUp> {
        let word = *self.random.pick(WORDS);
        let found = self.open("search", &format!("/search?q={word}")).await?;
        Ok(html::links(&found.body, "/p/"))
    }

    async fn fill_basket(&mut self) -> Result<bool, GaveUp> {
        for _ in 0..4 {
            let products = self.find().await?;
            let Some(path) = self.random.zipf(&products).cloned() else { continue };
            let product = self.open("product", &path).await?;
            // Nothing to press: sold out.
            let Some(form) = html::form(&product.body, "/cart/lines") else { continue };
            self.send("basket", &form.set("qty", "1")).await?;
            return Ok(true);
        }
        self.notes.count("found nothing to buy");
        Ok(false)
    }

    /// Opens an account, leaves it, and comes in again with the password.
    async fn become_member(&mut self) -> Result<(), GaveUp> {
        let email = format!("{}@example.test", self.name);
        let page = self.open("register", "/account/register").await?;
        let Some(form) = html::form(&page.body, "/account/register") else {
            return self.lost("no form to open an account");
        };
        let form = form.set("name", "Ada Example").set("email", &email).set("password", PASSWORD);
        let welcome = self.send("register", &form.set("phone", "+447700900123")).await?;
        if !welcome.path.starts_with("/account?") {
            return self.lost("no account was opened");
        }
        let account = self.open("account", "/account").await?;
        let Some(form) = html::form(&account.body, "/account/sign-out") else {
            return self.lost("no way to sign out");
        };
        self.send("account", &form).await?;
        let page = self.open("sign in", "/account/sign-in").await?;
        let Some(form) = html::form(&page.body, "/account/sign-in") else {
            return self.lost("no form to sign in");
        };
        let form = form.set("email", &email).set("password", PASSWORD);
        let inside = self.send("sign in", &form).await?;
        if inside.status == 429 || !inside.path.starts_with("/account/") {
            return Ok(());
        }
        self.lost("not signed in")
    }

    async fn buy(&mut self) -> Result<(), GaveUp> {
        if !self.fill_basket().await? {
            return Ok(());
        }
        let address = self.open("checkout", "/checkout").await?;
        let Some(form) = html::form(&address.body, "/checkout/address") else {
            return self.lost("no address form");
        };
        let form = form
            .set("name", "Ada Example")
            .set("email", &format!("{}@example.test", self.name))
            .set("phone", "+447700900123")
            .set("line1", "1 Harbour Row")
            .set("postcode", "75001")
            .set("city", "Port Example")
            .set("country", "FR");
        let delivery = self.send("address", &form).await?;
        let Some(form) = html::form(&delivery.body, "/checkout/delivery") else {
            return self.lost("no delivery form");
        };
        let payment = self.send("delivery", &form).await?;
        let Some(pay) = html::links(&payment.body, "/psp/pay").into_iter().next() else {
            return self.lost("no way to the card page");
        };
        let card = self.card();
        let review = self.pay(&pay, card).await?;
        if self.random.chance(0.02) {
            self.open("review again", &review.path).await?;
        }
        let Some(form) = html::form(&review.body, "/checkout/submit") else {
            return self.lost("no submit button");
        };
        let placed = self.submit(&form).await?;
        let Some(order) = placed.path.strip_prefix("/orders/").map(order_id) else {
            return self.lost("submitted, and not on an order's page");
        };
        self.notes.accept(&order);
        self.follow(&order).await
    }

    fn card(&mut self) -> &'static str {
        let mut left = self.random.share();
        let card = CARDS.iter().find(|(_, share)| {
            left -= share;
            left < 0.0
        });
        card.map_or("ok", |(card, _)| card)
    }

    async fn pay(&mut self, path: &str, card: &str) -> Result<Page, GaveUp> {
        let page = self.open("card page", path).await?;
        let Some(form) = html::form(&page.body, "/pay") else {
            self.notes.count("lost: no card form");
            return Err(GaveUp);
        };
        self.send("card", &form.set("card", card)).await
    }

    /// Presses the button until the order is there; sometimes twice at once.
    async fn submit(&mut self, form: &Form) -> Result<Page, GaveUp> {
        if self.random.chance(0.03) {
            // The first of two clicks: its answer is never seen.
            let _ = self.browser.send("submit twice", form).await;
        }
        for _ in 1..SUBMIT_TRIES {
            match self.browser.send("submit", form).await {
                Ok(page) if page.path.starts_with("/orders/") => return Ok(page),
                // Sent back, or no answer: the same button again.
                Ok(_) | Err(GaveUp) => self.browser.think(SUBMIT_PAUSE).await,
            }
        }
        self.browser.send("submit", form).await
    }

    /// Looks at the order until it is under way or over, and helps where it asks for help.
    async fn follow(&mut self, order: &str) -> Result<(), GaveUp> {
        let path = format!("/orders/{order}");
        let mut helped = false;
        for _ in 0..LOOKS {
            // The page may be away for a moment; the person comes back.
            if let Ok(page) = self.browser.open("order", &path).await {
                match status(&page.body) {
                    "CAPTURED" | "RELEASED" | "DISPATCHED" | "DELIVERED" | "COMPLETED" => {
                        self.notes.confirmed();
                        return Ok(());
                    }
                    "CANCELLED" | "REFUNDED" => {
                        self.notes.count("ended cancelled");
                        return Ok(());
                    }
                    "AWAITING_ACTION" | "AWAITING_METHOD" if !helped => {
                        helped = self.help(&page).await.is_ok();
                    }
                    _ => {}
                }
            }
            self.browser.think(LOOK_PAUSE).await;
        }
        self.notes.count("still under way when the buyer left");
        Ok(())
    }

    /// Says yes to the bank, or brings another card.
    async fn help(&mut self, page: &Page) -> Result<(), GaveUp> {
        if let Some(bank) = html::links(&page.body, "/psp/3ds").into_iter().next() {
            let question = self.open("bank", &bank).await?;
            if let Some(form) = html::form(&question.body, "") {
                self.browser.send("bank answer", &form.set("answer", "approve")).await?;
            }
        } else if let Some(pay) = html::links(&page.body, "/psp/pay").into_iter().next() {
            self.pay(&pay, "ok").await?;
        }
        Ok(())
    }

    fn lost(&self, why: &'static str) -> Result<(), GaveUp> {
        self.notes.count(why);
        Err(GaveUp)
    }
}

/// Without what may follow it in the address.
fn order_id(rest: &str) -> String {
    rest.split(['?', '/', '#']).next().unwrap_or_default().to_owned()
}

fn status(page: &str) -> &str {
    let rest = page.split("data-status=\"").nth(1).unwrap_or_default();
    rest.split('"').next().unwrap_or_default()
}
