//! Accounts: signing in and out, registering, addresses.

use axum::extract::{Path, Query};
use axum::http::StatusCode;
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::json;
use store_kit::Outcome;

use crate::back::customers::Tokens;
use crate::layout::{Page, encode_pair};
use crate::pages::checkout::address::{self, Wrong, address_fields, refused};
use crate::pages::{orders, problem};
use crate::parts::{self, Field, notice};
use crate::session;
use crate::visit::{Pass, Posted, Visit, own_path};

#[derive(Default, Deserialize)]
pub(crate) struct Asked {
    #[serde(default)]
    back: String,
    #[serde(default)]
    said: String,
}

pub(crate) async fn show(mut visit: Visit, Query(asked): Query<Asked>) -> Response {
    if visit.session.member.is_none() {
        return visit.go("/account/sign-in");
    }
    let token = match visit.pass().await {
        Pass::Token(token) => token,
        Pass::Nobody | Pass::Ended => return visit.go("/account/sign-in?said=ended"),
    };
    let back = &visit.shop.back;
    let (me, addresses, list) = tokio::join!(
        back.customers.me(&token),
        back.customers.addresses(&token),
        back.orders.list(&token)
    );
    if matches!(&me, Outcome::Refused(r) if r.status == 401) {
        visit.session.member = None;
        return visit.go("/account/sign-in?said=ended");
    }
    let me = me.ok();
    let name = me
        .as_ref()
        .map(|m| m.name.clone())
        .or(visit.session.member.as_ref().map(|m| m.name.clone()))
        .unwrap_or_default();
    let title = visit.t("Your account", "Votre compte");
    let body = html! {
        div.wrap.account {
            header.list-head {
                h1 { (visit.t("Hello", "Bonjour")) ", " (name) }
                form action="/account/sign-out" method="post" {
                    (visit.form_token())
                    button.quiet type="submit" { (visit.t("Sign out", "Se déconnecter")) }
                }
            }
            @match asked.said.as_str() {
                "welcome" => { (notice("good", html! { (visit.t("Welcome. Your account is ready.", "Bienvenue. Votre compte est prêt.")) })) }
                "kept" => { (notice("good", html! { (visit.t("Address kept.", "Adresse enregistrée.")) })) }
                "address" => { (notice("bad", html! { (visit.t("That address could not be kept. Please fill in every field.", "Cette adresse n’a pu être enregistrée. Remplissez tous les champs.")) })) }
                _ => {}
            }
            div.split {
                section aria-labelledby="orders" {
                    h2 #orders { (visit.t("Latest orders", "Dernières commandes")) }
                    @match list.ok() {
                        Some(list) if !list.is_empty() => {
                            ul.orders role="list" { @for order in list.iter().take(5) { (orders::row(&visit, order)) } }
                            p { a href="/orders" { (visit.t("All orders", "Toutes les commandes")) } }
                        }
                        Some(_) => { p.muted { (visit.t("None yet.", "Aucune pour l’instant.")) } }
                        None => { (parts::panel_away(visit.t("Your orders cannot be shown just now.", "Vos commandes ne peuvent être montrées pour l’instant."))) }
                    }
                    h2 { (visit.t("Addresses", "Adresses")) }
                    (kept(&visit, addresses.as_deref()))
                }
                aside.summary {
                    h2 { (visit.t("About you", "À propos de vous")) }
                    @match &me {
                        Some(me) => {
                            dl.facts {
                                div { dt { (visit.t("Name", "Nom")) } dd { (me.name) } }
                                div { dt { (visit.t("E-mail", "E-mail")) } dd { (me.email) } }
                                @if let Some(phone) = &me.phone { div { dt { (visit.t("Mobile", "Mobile")) } dd { (phone) } } }
                            }
                        }
                        None => { p.muted { (visit.t("Your details cannot be shown just now. You can go on shopping.", "Vos coordonnées ne peuvent être montrées pour l’instant. Vous pouvez continuer vos achats.")) } }
                    }
                }
            }
        }
    };
    visit.page(Page::new(title, body)).await
}

fn kept(visit: &Visit, addresses: Option<&[crate::back::customers::KeptAddress]>) -> Markup {
    let Some(addresses) = addresses else {
        return parts::panel_away(visit.t(
            "Your addresses cannot be shown just now.",
            "Vos adresses ne peuvent être montrées pour l’instant.",
        ));
    };
    let form = address::Form::in_country(visit.t("GB", "FR"));
    html! {
        ul.addresses role="list" {
            @for kept in addresses {
                li {
                    (parts::address(visit.lang, &kept.address))
                    form action={ "/account/addresses/" (kept.id) "/remove" } method="post" {
                        (visit.form_token())
                        button.plain type="submit" { (visit.t("Remove", "Retirer")) span.sr { " " (kept.address.line1) } }
                    }
                }
            }
        }
        details.panel {
            summary { (visit.t("Add an address", "Ajouter une adresse")) }
            form.stack action="/account/addresses" method="post" {
                (visit.form_token())
                (Field::new("name", visit.t("Full name", "Nom complet"), "", "name").render(visit.lang))
                (address_fields(visit, &form, &Wrong::new()))
                p.forward { button type="submit" { (visit.t("Keep it", "Enregistrer")) } }
            }
        }
    }
}

pub(crate) async fn add_address(Posted { mut visit, form }: Posted<address::Form>) -> Response {
    let form = form.trimmed();
    let Pass::Token(token) = visit.pass().await else { return visit.go("/account/sign-in") };
    if !form.check_address(&visit).is_empty() {
        return visit.go("/account?said=address");
    }
    match visit.shop.back.customers.add_address(&token, &form.address()).await {
        Outcome::Ok(_) => visit.go("/account?said=kept"),
        Outcome::Refused(_) => visit.go("/account?said=address"),
        Outcome::NoAnswer(_) => not_now(visit, "/account").await,
    }
}

pub(crate) async fn remove_address(
    Path(id): Path<String>,
    Posted { mut visit, form: crate::pages::cart::Nothing {} }: Posted<crate::pages::cart::Nothing>,
) -> Response {
    let plain = id.len() <= 64 && id.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    let Pass::Token(token) = visit.pass().await else { return visit.go("/account/sign-in") };
    if !plain {
        return visit.go("/account");
    }
    match visit.shop.back.customers.remove_address(&token, &id).await {
        Outcome::Ok(_) | Outcome::Refused(_) => visit.go("/account"),
        Outcome::NoAnswer(_) => not_now(visit, "/account").await,
    }
}

async fn not_now(visit: Visit, back: &str) -> Response {
    let text = visit.t(
        "Accounts cannot be reached right now. Nothing was changed; please try again in a moment.",
        "Les comptes sont injoignables pour l’instant. Rien n’a été modifié ; réessayez dans un instant.",
    );
    problem::not_done(visit, back, text).await
}

pub(crate) async fn sign_in_page(visit: Visit, Query(asked): Query<Asked>) -> Response {
    let note = match asked.said.as_str() {
        "ended" => notice(
            "quiet",
            html! { (visit.t("You were signed out. Please sign in again.", "Vous avez été déconnecté. Reconnectez-vous.")) },
        ),
        _ => html! {},
    };
    sign_in_form(visit, "", &asked.back, note, StatusCode::OK).await
}

async fn sign_in_form(
    visit: Visit,
    email: &str,
    back: &str,
    note: Markup,
    status: StatusCode,
) -> Response {
    let title = visit.t("Sign in", "Se connecter");
    let body = html! {
        div.wrap.narrow.doorway {
            h1 { (title) }
            (note)
            form.stack action="/account/sign-in" method="post" {
                (visit.form_token())
                input type="hidden" name="back" value=(back);
                (Field::new("email", visit.t("E-mail", "E-mail"), email, "email").kind("email").render(visit.lang))
                (Field::new("password", visit.t("Password", "Mot de passe"), "", "current-password").kind("password").render(visit.lang))
                p.forward { button type="submit" { (title) } }
            }
            p { (visit.t("New here?", "Nouveau ici ?")) " " a href={ "/account/register?" (encode_pair("back", back)) } { (visit.t("Open an account", "Ouvrir un compte")) } }
            p.fine { (visit.t("You do not need one to buy something.", "Il n’en faut pas pour acheter.")) }
        }
    };
    visit.page(Page::new(title, body).status(status)).await
}

#[derive(Deserialize)]
pub(crate) struct SignIn {
    #[serde(default)]
    email: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    back: String,
}

pub(crate) async fn sign_in(Posted { mut visit, form }: Posted<SignIn>) -> Response {
    let email = form.email.trim();
    match visit.shop.back.customers.sign_in(email, &form.password).await {
        Outcome::Ok(answer) => {
            enter(&mut visit, answer.body, None).await;
            let back = if form.back.is_empty() { "/account" } else { own_path(&form.back) };
            let back = back.to_owned();
            visit.go(&back)
        }
        Outcome::Refused(_) => {
            let note = notice(
                "bad",
                html! { (visit.t("E-mail and password do not go together.", "L’e-mail et le mot de passe ne vont pas ensemble.")) },
            );
            sign_in_form(visit, email, &form.back, note, StatusCode::UNPROCESSABLE_ENTITY).await
        }
        Outcome::NoAnswer(_) => {
            let note = notice(
                "bad",
                html! { (visit.t("We cannot check passwords right now. You can go on as a guest, or try again in a moment.", "Nous ne pouvons vérifier les mots de passe pour l’instant. Continuez en invité, ou réessayez dans un instant.")) },
            );
            sign_in_form(visit, email, &form.back, note, StatusCode::SERVICE_UNAVAILABLE).await
        }
    }
}

/// Signed in: remembers the tokens, and carries the basket over.
async fn enter(visit: &mut Visit, tokens: Tokens, name: Option<String>) {
    let name = match name {
        Some(name) => name,
        None => visit
            .shop
            .back
            .customers
            .me(&tokens.token)
            .await
            .ok()
            .map(|me| me.name)
            .unwrap_or_default(),
    };
    let now = visit.now().millis() / 1000;
    visit.session.checkout = None;
    // A new name for the session: what was known of the old one is of no use to anybody.
    visit.session.id = session::random();
    let id = tokens.customer_id.clone();
    visit.session.member = Some(session::Member {
        id: tokens.customer_id,
        name: name.chars().take(80).collect(),
        token: tokens.token,
        refresh: tokens.refresh_token,
        until: now + tokens.expires_in,
    });
    let carts = &visit.shop.back.cart;
    // The member's open cart, or a new one; what was in the visitor's is put into it.
    let Some(own) = carts.create(Some(&id)).await.ok() else { return };
    let mut cart = own;
    if let Some(old) = visit.session.cart.clone().filter(|old| *old != cart.id)
        && let Some(merged) = carts.merge(&cart.id, &old).await.ok()
    {
        cart = merged;
    }
    visit.session.things = cart.things();
    visit.session.cart = Some(cart.id);
}

pub(crate) async fn register_page(visit: Visit, Query(asked): Query<Asked>) -> Response {
    let form = Register { back: asked.back, key: session::random(), ..Register::default() };
    register_form(visit, &form, &Wrong::new(), html! {}, StatusCode::OK).await
}

#[derive(Clone, Default, Deserialize)]
pub(crate) struct Register {
    #[serde(default)]
    name: String,
    #[serde(default)]
    email: String,
    #[serde(default)]
    phone: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    back: String,
    /// Made with the form, so that sending it twice opens one account.
    #[serde(default)]
    key: String,
}

async fn register_form(
    visit: Visit,
    form: &Register,
    wrong: &Wrong,
    note: Markup,
    status: StatusCode,
) -> Response {
    let title = visit.t("Open an account", "Ouvrir un compte");
    let error = |name: &str| wrong.get(name).map(String::as_str);
    let body = html! {
        div.wrap.narrow.doorway {
            h1 { (title) }
            (note)
            form.stack action="/account/register" method="post" data-once {
                (visit.form_token())
                input type="hidden" name="back" value=(form.back);
                input type="hidden" name="key" value=(form.key);
                (Field::new("name", visit.t("Full name", "Nom complet"), &form.name, "name").error(error("name")).render(visit.lang))
                (Field::new("email", visit.t("E-mail", "E-mail"), &form.email, "email").kind("email").error(error("email")).render(visit.lang))
                (Field::new("phone", visit.t("Mobile number", "Numéro de mobile"), &form.phone, "tel").kind("tel")
                    .hint(visit.t("For text messages about your orders, such as +33 6 39 98 00 01", "Pour les messages sur vos commandes, comme +33 6 39 98 00 01"))
                    .error(error("phone")).render(visit.lang))
                (Field::new("password", visit.t("Password", "Mot de passe"), "", "new-password").kind("password")
                    .hint(visit.t("Ten characters or more; a short sentence is good", "Dix caractères ou plus ; une petite phrase convient"))
                    .error(error("password")).render(visit.lang))
                p.forward { button type="submit" { (title) } }
            }
            p { (visit.t("Already have one?", "Vous en avez un ?")) " " a href={ "/account/sign-in?" (encode_pair("back", &form.back)) } { (visit.t("Sign in", "Connectez-vous")) } }
        }
    };
    visit.page(Page::new(title, body).status(status)).await
}

pub(crate) async fn register(Posted { visit, form }: Posted<Register>) -> Response {
    let phone = address::Form::plain_phone(&form.phone);
    let key = format!("register:{}", form.key.chars().take(64).collect::<String>());
    let who = json!({
        "email": form.email.trim(), "password": form.password, "name": form.name.trim(), "phone": phone, "locale": visit.lang.tag(),
    });
    let refusal = match visit.shop.back.customers.register(&key, &who).await {
        Outcome::Ok(_) => return welcome(visit, &form).await,
        Outcome::Refused(refusal) => refusal,
        Outcome::NoAnswer(_) => {
            let note = notice(
                "bad",
                html! { (visit.t("Accounts cannot be opened right now. Please try again in a moment, or go on as a guest.", "Impossible d’ouvrir un compte pour l’instant. Réessayez dans un instant, ou continuez en invité.")) },
            );
            return register_form(
                visit,
                &form,
                &Wrong::new(),
                note,
                StatusCode::SERVICE_UNAVAILABLE,
            )
            .await;
        }
    };
    let mut wrong = refused(&refusal.errors);
    if refusal.code == "email-taken" {
        wrong.insert(
            "email",
            visit
                .t(
                    "There is an account with this address already.",
                    "Un compte existe déjà avec cette adresse.",
                )
                .into(),
        );
    }
    let note = if wrong.is_empty() {
        notice(
            "bad",
            html! { (visit.t("This was not accepted. Please check every field.", "Cela n’a pas été accepté. Vérifiez chaque champ.")) },
        )
    } else {
        notice(
            "bad",
            html! { (visit.t("Please look at the fields marked below.", "Regardez les champs marqués ci-dessous.")) },
        )
    };
    // Another attempt is another command.
    let form = Register { key: session::random(), ..form };
    register_form(visit, &form, &wrong, note, StatusCode::UNPROCESSABLE_ENTITY).await
}

/// Signs a new member in with the password just given; where that fails, they do it themselves.
async fn welcome(mut visit: Visit, form: &Register) -> Response {
    match visit.shop.back.customers.sign_in(form.email.trim(), &form.password).await.ok() {
        Some(tokens) => {
            enter(&mut visit, tokens, Some(form.name.trim().to_owned())).await;
            let back =
                if form.back.is_empty() { "/account?said=welcome" } else { own_path(&form.back) };
            visit.go(back)
        }
        None => visit.go("/account/sign-in"),
    }
}

pub(crate) async fn sign_out(
    Posted { mut visit, form: crate::pages::cart::Nothing {} }: Posted<crate::pages::cart::Nothing>,
) -> Response {
    if let Some(member) = visit.session.member.take() {
        // The cookie forgets in any case; customers should too.
        let _ = visit.shop.back.customers.sign_out(&member.token).await;
    }
    let lang = visit.session.lang;
    visit.session = visit.seal().fresh();
    visit.session.lang = lang;
    visit.go("/")
}
