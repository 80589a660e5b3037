//! As much of a page as a person without eyes needs: its links and its forms.
//!
//! Reads what our own servers write (lower case, double quotes), not the web.

/// A form as the page shows it, with what it would send if nobody touched it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Form {
    pub(crate) action: String,
    pub(crate) fields: Vec<(String, String)>,
}

impl Form {
    /// What a person types, chooses or presses.
    pub(crate) fn set(mut self, name: &str, value: &str) -> Self {
        self.fields.retain(|(known, _)| known != name);
        self.fields.push((name.to_owned(), value.to_owned()));
        self
    }
}

/// The first form whose action ends so and whose button can be pressed.
pub(crate) fn form(page: &str, action_end: &str) -> Option<Form> {
    page.split("<form").skip(1).find_map(|rest| {
        let whole = rest.split("</form>").next()?;
        let (head, inner) = whole.split_once('>')?;
        let action = attribute(head, "action")?;
        if !action.ends_with(action_end) || !has_button(inner) {
            return None;
        }
        let fields = inputs(inner).chain(selects(inner)).collect();
        Some(Form { action, fields })
    })
}

/// Where the links of the page lead that begin so, each once, in order.
pub(crate) fn links(page: &str, start: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for tag in tags(page, "a") {
        if let Some(href) = attribute(tag, "href")
            && href.starts_with(start)
            && !found.contains(&href)
        {
            found.push(href);
        }
    }
    found
}

fn has_button(inner: &str) -> bool {
    tags(inner, "button").any(|tag| !flag(tag, "disabled"))
}

fn inputs(inner: &str) -> impl Iterator<Item = (String, String)> {
    tags(inner, "input").filter_map(|tag| {
        let kind = attribute(tag, "type").unwrap_or_default();
        if matches!(kind.as_str(), "radio" | "checkbox") && !flag(tag, "checked") {
            return None;
        }
        Some((attribute(tag, "name")?, attribute(tag, "value").unwrap_or_default()))
    })
}

/// The chosen option of each list, or its first.
fn selects(inner: &str) -> impl Iterator<Item = (String, String)> {
    inner.split("<select").skip(1).filter_map(|rest| {
        let whole = rest.split("</select>").next()?;
        let (head, options) = whole.split_once('>')?;
        let chosen = tags(options, "option").find(|tag| flag(tag, "selected"));
        let option = chosen.or_else(|| tags(options, "option").next())?;
        Some((attribute(head, "name")?, attribute(option, "value").unwrap_or_default()))
    })
}

/// What stands between `<name` and `>`.
fn tags<'a>(text: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let start = format!("<{name}");
    let mut rest = text;
    std::iter::from_fn(move || {
        loop {
            let at = rest.find(&start)?;
            rest = &rest[at + start.len()..];
            let tag = rest.split('>').next()?;
            if tag.is_empty() || tag.starts_with([' ', '\n', '/']) {
                return Some(tag);
            }
        }
    })
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let start = format!(" {name}=\"");
    let at = tag.find(&start)? + start.len();
    let value = tag[at..].split('"').next()?;
    Some(decode(value))
}

/// An attribute that is there or not.
fn flag(tag: &str, name: &str) -> bool {
    tag.split([' ', '\n', '/']).any(|word| word == name || word.split('=').next() == Some(name))
}

fn decode(text: &str) -> String {
    text.replace("&quot;", "\"").replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = r#"<a class="x" href="/p/lamp">Lamp</a><a href="/p/lamp">again</a>
        <a href="/p/tea">Tea</a><article><a href="/cart">Basket</a></article>
        <form action="/cart/lines" method="post"><button type="submit" disabled>sold out</button></form>
        <form class="add" action="/cart/lines" method="post">
          <input type="hidden" name="form_token" value="a&amp;b">
          <input type="radio" name="size" value="s"><input type="radio" name="size" value="m" checked>
          <select name="qty"><option value="1">1</option><option value="2" selected>2</option></select>
          <button type="submit">Add</button></form>"#;

    #[test]
    fn a_form_sends_what_the_page_says_unless_somebody_changes_it() {
        let form = form(PAGE, "/cart/lines").unwrap();
        let pairs = [("form_token", "a&b"), ("size", "m"), ("qty", "2")];
        let expected: Vec<_> = pairs.map(|(n, v)| (n.to_owned(), v.to_owned())).to_vec();
        assert_eq!(form.fields, expected);
        assert_eq!(form.set("qty", "3").fields[2].1, "3");
    }

    #[test]
    fn what_cannot_be_pressed_is_no_form() {
        let sold_out = r#"<form action="/cart/lines"><button disabled>sold out</button></form>"#;
        assert_eq!(form(sold_out, "/cart/lines"), None);
        assert_eq!(form(PAGE, "/elsewhere"), None);
    }

    #[test]
    fn links_come_once_and_in_order() {
        assert_eq!(links(PAGE, "/p/"), ["/p/lamp", "/p/tea"]);
    }
}
