//! The services behind the shop, as the shop sees them.
//!
//! Each panel of a page asks with a budget of its own and can do without an answer; see
//! [`crate::shelf`] for what is kept. Shapes are read leniently: members that we do not show are
//! not declared, so a service may add to them.

pub(crate) mod buying;
pub(crate) mod catalog;
pub(crate) mod customers;
pub(crate) mod inventory;
pub(crate) mod orders;

use std::time::Duration;

use store_kit::{Callee, Env, StartError};

use crate::shelf::Pulse;

/// How long a panel may keep a page waiting, in milliseconds.
const PANEL_MS: u64 = 800;
/// How long a person who pressed a button waits.
pub(crate) const ACTION: Duration = Duration::from_secs(2);

/// All of them.
pub(crate) struct Back {
    pub(crate) catalog: catalog::Catalog,
    pub(crate) inventory: inventory::Inventory,
    pub(crate) cart: buying::Carts,
    pub(crate) checkout: buying::Checkouts,
    pub(crate) customers: customers::Customers,
    pub(crate) orders: orders::Orders,
}

impl Back {
    pub(crate) fn of(env: &Env) -> Result<Self, StartError> {
        let budget = env.parse("PANEL_BUDGET_MS", "a number of milliseconds", PANEL_MS)?;
        let panel = Duration::from_millis(budget);
        let callee = |name| env.callee(name).map(|c: Callee| c.with_timeout(panel));
        Ok(Self {
            catalog: catalog::Catalog::new(callee("catalog")?),
            inventory: inventory::Inventory::new(callee("inventory")?),
            cart: buying::Carts { callee: callee("cart")?, pulse: Pulse::default() },
            checkout: buying::Checkouts { callee: callee("checkout")? },
            customers: customers::Customers::new(callee("customers")?),
            orders: orders::Orders { callee: callee("orders")? },
        })
    }
}
