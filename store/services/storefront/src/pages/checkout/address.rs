//! Step 1: who and where to. A visitor without an account becomes a guest here.

use std::collections::BTreeMap;

use axum::extract::Query;
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::json;
use store_kit::{CustomerId, FieldError, Outcome};

use super::{Step, away, current, finish, page, state};
use crate::back::buying::Address;
use crate::layout::things;
use crate::pages::cart::{Basket, basket};
use crate::parts::{COUNTRIES, Field, notice};
use crate::session::{self, digest};
use crate::visit::{Pass, Posted, Visit};

const GUEST_S: i64 = 24 * 3600 - 60;

#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Form {
    #[serde(default)]
    pub(crate) name: String,
    #[serde(default)]
    email: String,
    #[serde(default)]
    phone: String,
    #[serde(default)]
    pub(crate) line1: String,
    #[serde(default)]
    pub(crate) line2: String,
    #[serde(default)]
    pub(crate) postcode: String,
    #[serde(default)]
    pub(crate) city: String,
    #[serde(default)]
    pub(crate) country: String,
}

/// What is wrong, by field.
pub(crate) type Wrong = BTreeMap<&'static str, String>;

impl Form {
    /// Empty but for the country.
    pub(crate) fn in_country(code: &str) -> Self {
        Self { country: code.to_owned(), ..Self::default() }
    }

    pub(crate) fn trimmed(&self) -> Self {
        let t = |text: &str| text.trim().to_owned();
        Self {
            name: t(&self.name),
            email: t(&self.email),
            phone: t(&self.phone),
            line1: t(&self.line1),
            line2: t(&self.line2),
            postcode: t(&self.postcode),
            city: t(&self.city),
            country: t(&self.country),
        }
    }

    pub(crate) fn address(&self) -> Address {
        Address {
            name: self.name.clone(),
            line1: self.line1.clone(),
            line2: (!self.line2.is_empty()).then(|| self.line2.clone()),
            postcode: self.postcode.clone(),
            city: self.city.clone(),
            country: self.country.clone(),
        }
    }

    fn fill(mut self, address: &Address) -> Self {
        self.name.clone_from(&address.name);
        self.line1.clone_from(&address.line1);
        self.line2 = address.line2.clone().unwrap_or_default();
        self.postcode.clone_from(&address.postcode);
        self.city.clone_from(&address.city);
        self.country.clone_from(&address.country);
        self
    }

    pub(crate) fn check_address(&self, visit: &Visit) -> Wrong {
        let mut wrong = Wrong::new();
        let missing = visit.t("Please fill this in.", "À remplir, s’il vous plaît.");
        for (name, value) in [
            ("name", &self.name),
            ("line1", &self.line1),
            ("postcode", &self.postcode),
            ("city", &self.city),
        ] {
            if value.is_empty() {
                wrong.insert(name, missing.into());
            } else if value.chars().count() > 100 {
                wrong.insert(
                    name,
                    visit
                        .t("Please keep it under a hundred characters.", "Cent caractères au plus.")
                        .into(),
                );
            }
        }
        if !COUNTRIES.iter().any(|(code, ..)| *code == self.country) {
            wrong.insert(
                "country",
                visit
                    .t(
                        "Please choose a country we deliver to.",
                        "Choisissez un pays où nous livrons.",
                    )
                    .into(),
            );
        }
        wrong
    }

    fn check_contact(&self, visit: &Visit, wrong: &mut Wrong) {
        let mail_ok = self
            .email
            .split_once('@')
            .is_some_and(|(a, b)| !a.is_empty() && b.contains('.') && !b.ends_with('.'))
            && !self.email.contains(char::is_whitespace);
        if !mail_ok {
            wrong.insert(
                "email",
                visit
                    .t(
                        "This does not look like an e-mail address.",
                        "Cela ne ressemble pas à une adresse e-mail.",
                    )
                    .into(),
            );
        }
        let digits = self.phone.chars().filter(char::is_ascii_digit).count();
        let phone_ok = (6..=15).contains(&digits)
            && self
                .phone
                .chars()
                .all(|c| c.is_ascii_digit() || matches!(c, '+' | ' ' | '-' | '.' | '(' | ')'));
        if !phone_ok {
            wrong.insert(
                "phone",
                visit
                    .t(
                        "Please give a number with its country code, such as +33 6 39 98 00 01.",
                        "Donnez un numéro avec son indicatif, comme +33 6 39 98 00 01.",
                    )
                    .into(),
            );
        }
    }

    /// `+33 6 39 98 00 01` as `+33639980001`.
    pub(crate) fn plain_phone(phone: &str) -> String {
        phone.chars().filter(|c| c.is_ascii_digit() || *c == '+').collect()
    }
}

/// What another service found wrong, put to the fields of ours that it names.
pub(crate) fn refused(errors: &[FieldError]) -> Wrong {
    const FIELDS: [&str; 9] =
        ["name", "email", "phone", "line1", "line2", "postcode", "city", "country", "password"];
    let mut wrong = Wrong::new();
    for error in errors {
        let last = error.pointer.rsplit('/').next().unwrap_or_default();
        if let Some(field) = FIELDS.into_iter().find(|f| *f == last) {
            wrong.insert(field, error.detail.clone());
        }
    }
    wrong
}

#[derive(Deserialize)]
pub(crate) struct Asked {
    #[serde(default)]
    said: String,
    /// Fills in an example.
    #[serde(default)]
    example: String,
    /// One of the member's addresses.
    #[serde(default)]
    kept: String,
}

pub(crate) async fn show(mut visit: Visit, Query(asked): Query<Asked>) -> Response {
    match basket(&mut visit).await {
        Basket::Empty => return visit.go("/cart"),
        Basket::Away => return away(visit).await,
        Basket::Full(_) => {}
    }
    let mut form = Form::in_country(visit.t("GB", "FR"));
    if let Some(checkout) = current(&visit) {
        match state(&visit, &checkout).await {
            super::State::Open(started) => {
                if let Some(address) = &started.address {
                    form = form.fill(address);
                }
            }
            super::State::Sent => {
                let to = finish(&mut visit, &checkout);
                return visit.go(&to);
            }
            super::State::Gone | super::State::Away => {}
        }
    }
    let kept = kept(&mut visit).await;
    let pick = kept
        .iter()
        .find(|k| k.id == asked.kept)
        .or_else(|| kept.first().filter(|_| form.line1.is_empty()));
    if let Some(pick) = pick {
        form = form.fill(&pick.address);
    }
    if asked.example == "1" {
        form = example(&visit);
    }
    if form.name.is_empty()
        && let Some(member) = &visit.session.member
    {
        form.name.clone_from(&member.name);
    }
    let note = match asked.said.as_str() {
        "again" => notice(
            "warn",
            html! { (visit.t("That checkout had run out of time. Please check the address once more; your basket is as you left it.", "Cette commande avait expiré. Vérifiez l’adresse encore une fois ; votre panier est tel que vous l’avez laissé.")) },
        ),
        _ => html! {},
    };
    render(visit, &form, &Wrong::new(), note, &kept).await
}

async fn kept(visit: &mut Visit) -> Vec<crate::back::customers::KeptAddress> {
    if visit.session.member.is_none() {
        return Vec::new();
    }
    let Pass::Token(token) = visit.pass().await else { return Vec::new() };
    visit.shop.back.customers.addresses(&token).await.unwrap_or_default()
}

/// For people who only want to see how it goes on. Mail and number are of ranges that are kept
/// for examples.
fn example(visit: &Visit) -> Form {
    let text = |text: &str| text.to_owned();
    let (phone, postcode, city, country) = match visit.lang {
        crate::lang::Lang::En => ("+44 7700 900123", "ZZ1 1ZZ", "Port Hesk", "GB"),
        crate::lang::Lang::Fr => ("+33 6 39 98 00 42", "29000", "Port-Hesk", "FR"),
    };
    Form {
        name: text(visit.t("Example Customer", "Client Exemple")),
        email: format!(
            "visitor-{}@example.test",
            &digest(&visit.session.id)[..6].to_lowercase().replace(['-', '_'], "x")
        ),
        phone: text(phone),
        line1: text(visit.t("1 Lighthouse Road", "1 route du Phare")),
        line2: String::new(),
        postcode: text(postcode),
        city: text(city),
        country: text(country),
    }
}

pub(crate) async fn save(Posted { mut visit, form }: Posted<Form>) -> Response {
    let form = form.trimmed();
    let Basket::Full(cart) = basket(&mut visit).await else {
        return if visit.session.cart.is_some() { away(visit).await } else { visit.go("/cart") };
    };
    let mut wrong = form.check_address(&visit);
    if visit.session.member.is_none() {
        form.check_contact(&visit, &mut wrong);
    }
    if !wrong.is_empty() {
        return render(visit, &form, &wrong, html! {}, &[]).await;
    }
    let customer = match customer(&mut visit, &form).await {
        Ok(customer) => customer,
        Err((wrong, note)) => return render(visit, &form, &wrong, note, &[]).await,
    };
    let existing = current(&visit).filter(|c| c.customer == customer);
    let checkout = match existing {
        Some(checkout) => checkout,
        None => match visit.shop.back.checkout.create(&cart.id, &customer).await {
            Outcome::Ok(answer) => session::Checkout {
                id: answer.body.id,
                order: answer.body.order_id,
                cart: cart.id.clone(),
                customer,
                delivery: false,
                card: false,
            },
            other => {
                tracing::warn!(outcome = ?other, "no checkout");
                return away(visit).await;
            }
        },
    };
    visit.session.checkout = Some(checkout.clone());
    match visit.shop.back.checkout.patch(&checkout.id, &json!({ "address": form.address() })).await
    {
        Outcome::Ok(_) => visit.go("/checkout/delivery"),
        Outcome::Refused(refusal) if refusal.status == 422 => {
            let wrong = refused(&refusal.errors);
            let note = notice(
                "bad",
                html! { (visit.t("Something in the address was not accepted.", "Quelque chose dans l’adresse n’a pas été accepté.")) },
            );
            render(visit, &form, &wrong, note, &[]).await
        }
        Outcome::Refused(_) => super::again(visit),
        Outcome::NoAnswer(_) => away(visit).await,
    }
}

/// The member, or a guest made of the contact details. The same details twice are one guest.
async fn customer(visit: &mut Visit, form: &Form) -> Result<CustomerId, (Wrong, Markup)> {
    if let Some(member) = &visit.session.member {
        return Ok(member.id.clone());
    }
    let phone = Form::plain_phone(&form.phone);
    let locale = visit.lang.tag();
    let contact =
        digest(&format!("{}\n{}\n{phone}\n{locale}", form.name, form.email.to_lowercase()));
    let now = visit.now().millis() / 1000;
    if let Some(guest) = &visit.session.guest
        && guest.contact == contact
        && guest.until > now
    {
        return Ok(guest.id.clone());
    }
    // The hour is in the key, so that a guest of yesterday gets a token of today.
    let key = format!("guest:{}:{contact}:{}", visit.session.id, now / 3600);
    let who = json!({"name": form.name, "email": form.email, "phone": phone, "locale": locale});
    match visit.shop.back.customers.guest(&key, &who).await {
        Outcome::Ok(answer) => {
            let id = answer.body.customer_id;
            visit.session.guest = Some(session::Guest {
                id: id.clone(),
                token: answer.body.token,
                until: now + GUEST_S,
                contact,
            });
            Ok(id)
        }
        Outcome::Refused(refusal) => {
            let note = notice(
                "bad",
                html! { (visit.t("Your details were not accepted.", "Vos coordonnées n’ont pas été acceptées.")) },
            );
            Err((refused(&refusal.errors), note))
        }
        Outcome::NoAnswer(_) => {
            let note = notice(
                "bad",
                html! {
                    (visit.t(
                        "We cannot take down contact details right now. What you typed is still here; please press the button again in a moment.",
                        "Nous ne pouvons pas noter vos coordonnées pour l’instant. Votre saisie est toujours là ; appuyez à nouveau dans un instant.",
                    ))
                },
            );
            Err((Wrong::new(), note))
        }
    }
}

/// The fields of an address, here and in the account.
pub(crate) fn address_fields(visit: &Visit, form: &Form, wrong: &Wrong) -> Markup {
    let error = |name: &str| wrong.get(name).map(String::as_str);
    html! {
        (Field::new("line1", visit.t("Street and number", "Rue et numéro"), &form.line1, "address-line1").error(error("line1")).render(visit.lang))
        (Field::new("line2", visit.t("Flat, floor, boat", "Appartement, étage, bateau"), &form.line2, "address-line2").optional().error(error("line2")).render(visit.lang))
        div.pair {
            (Field::new("postcode", visit.t("Postcode", "Code postal"), &form.postcode, "postal-code").half().error(error("postcode")).render(visit.lang))
            (Field::new("city", visit.t("Town", "Ville"), &form.city, "address-level2").half().error(error("city")).render(visit.lang))
        }
        div.field.wrong[wrong.contains_key("country")] {
            label for="country" { (visit.t("Country", "Pays")) }
            select #country name="country" autocomplete="country" {
                @for (code, en, fr) in COUNTRIES { option value=(code) selected[form.country == code] { (visit.t(en, fr)) } }
            }
            @if let Some(error) = error("country") { p.error { (error) } }
        }
    }
}

async fn render(
    visit: Visit,
    form: &Form,
    wrong: &Wrong,
    note: Markup,
    kept: &[crate::back::customers::KeptAddress],
) -> Response {
    let error = |name: &str| wrong.get(name).map(String::as_str);
    let guest = visit.session.member.is_none();
    let heading = visit.t("Where shall we send it?", "Où l’envoyons-nous ?");
    let body = html! {
        (note)
        @if !wrong.is_empty() {
            (notice("bad", html! { (visit.t("Please look at the fields marked below.", "Regardez les champs marqués ci-dessous.")) }))
        }
        @if guest {
            p.aside-line {
                (visit.t("Have an account?", "Vous avez un compte ?")) " "
                a href="/account/sign-in?back=/checkout/address" { (visit.t("Sign in", "Connectez-vous")) } ". "
                (visit.t("Just looking?", "Simple visite ?")) " "
                a href="/checkout/address?example=1" { (visit.t("Fill in an example", "Remplir un exemple")) } "."
            }
        } @else if kept.len() > 1 {
            ul.chips role="list" aria-label=(visit.t("Your addresses", "Vos adresses")) {
                @for k in kept {
                    li { a.chip href={ "/checkout/address?kept=" (k.id) } { (k.address.line1) ", " (k.address.city) } }
                }
            }
        }
        form.stack action="/checkout/address" method="post" {
            (visit.form_token())
            (Field::new("name", visit.t("Full name", "Nom complet"), &form.name, "name").error(error("name")).render(visit.lang))
            @if guest {
                div.pair {
                    (Field::new("email", visit.t("E-mail", "E-mail"), &form.email, "email").kind("email").half().error(error("email")).render(visit.lang))
                    (Field::new("phone", visit.t("Mobile number", "Numéro de mobile"), &form.phone, "tel").kind("tel").half()
                        .hint(visit.t("For text messages about this order", "Pour les messages sur cette commande"))
                        .error(error("phone")).render(visit.lang))
                }
            }
            (address_fields(&visit, form, wrong))
            p.forward { button type="submit" { (visit.t("Continue to delivery", "Continuer vers la livraison")) } }
        }
    };
    let aside = html! {
        aside.summary {
            h2 { (visit.t("Your basket", "Votre panier")) }
            p { (things(visit.lang, visit.session.things)) }
            p { a href="/cart" { (visit.t("Look at it again", "Le revoir")) } }
        }
    };
    page(visit, Step::Address, heading, body, aside).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_another_service_refuses_is_shown_at_its_field() {
        let errors = [
            FieldError { pointer: "/address/postcode".into(), detail: "five digits".into() },
            FieldError { pointer: "/email".into(), detail: "taken".into() },
            FieldError { pointer: "/else".into(), detail: "?".into() },
        ];
        let wrong = refused(&errors);
        assert_eq!(
            (wrong.len(), wrong["postcode"].as_str(), wrong["email"].as_str()),
            (2, "five digits", "taken")
        );
    }

    #[test]
    fn a_number_is_sent_as_machines_write_it() {
        assert_eq!(Form::plain_phone("+33 (0)6.39-98"), "+33063998");
    }
}
