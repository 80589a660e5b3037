//! The pages, one module each.

pub(crate) mod account;
pub(crate) mod cart;
pub(crate) mod checkout;
pub(crate) mod home;
pub(crate) mod list;
pub(crate) mod orders;
pub(crate) mod problem;
pub(crate) mod product;

use axum::extract::{Path, Query};
use axum::response::Response;
use serde::Deserialize;

use crate::back::customers::Customers;
use crate::lang::Lang;
use crate::visit::{Pass, Visit, own_path};

#[derive(Deserialize)]
pub(crate) struct Back {
    #[serde(default)]
    back: String,
}

/// `/lang/fr?back=/p/x`: changes the language and goes back.
pub(crate) async fn language(
    mut visit: Visit,
    Path(tag): Path<String>,
    Query(query): Query<Back>,
) -> Response {
    if let Some(lang) = Lang::parse(&tag) {
        visit.session.lang = Some(lang);
        if visit.session.member.is_some()
            && let Pass::Token(token) = visit.pass().await
        {
            // Text messages should follow; if customers is away they stay as they were.
            let customers: &Customers = &visit.shop.back.customers;
            let _ = customers.set_locale(&token, lang).await;
        }
    }
    let back = own_path(&query.back).to_owned();
    visit.go(&back)
}
