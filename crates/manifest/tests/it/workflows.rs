//! Limits, retention and schedules of workflows.

use std::time::Duration;

use super::{HEAD, parse, problems};

#[test]
fn workflows_begin_by_the_clock_and_are_kept_as_long_as_wanted() {
    let app = parse(&format!(
        "{HEAD}[services.orders]\nrun = \"./orders\"\n[services.orders.workflows]\nkeep = \"7d\"\n\
         [services.orders.workflows.schedules.nightly]\nworkflow = \"Reconcile\"\nschedule = \" 0  3 * * * \"\n\
         timezone = \"Europe/Paris\"\ninput = '{{\"days\": 1}}'\n"
    ))
    .unwrap()
    .app;
    let workflows = &app.services["orders"].workflows;
    assert_eq!(workflows.keep, Some(Duration::from_secs(7 * 86_400)));
    let nightly = &workflows.schedules["nightly"];
    assert_eq!((&*nightly.workflow, &*nightly.schedule), ("Reconcile", "0 3 * * *"));
    assert_eq!(nightly.timezone.as_deref(), Some("Europe/Paris"));
    assert_eq!(nightly.input.as_deref(), Some("{\"days\": 1}"));
}

#[test]
fn a_schedule_that_cannot_be_meant_is_named() {
    for (key, value) in
        [("schedule", "'at night'"), ("timezone", "'Mars/Base'"), ("input", "'{days'")]
    {
        let schedule = if key == "schedule" { "" } else { "schedule = \"0 3 * * *\"\n" };
        let found = problems(parse(&format!(
            "{HEAD}[services.orders]\nrun = \"./orders\"\n\
             [services.orders.workflows.schedules.nightly]\nworkflow = \"Reconcile\"\n{schedule}{key} = {value}\n"
        )));
        assert_eq!(found.len(), 1, "{key}: {found:?}");
    }
}
