//! What is written of an instance beside its events: its record, and the row of what is active.

use crate::instance::{Instance, Saved};
use crate::state::{Effect, Unit};
use crate::stored::{self, ActiveV1, InstanceV1, Record as _};

pub(crate) fn park(instance: &mut Instance, why: String, unit: &mut Unit) {
    tracing::warn!(instance = %instance.key, why, "a workflow is parked; raise an event or resume it to try again");
    instance.parked = Some(why);
    record(instance, unit);
}

/// Shows how an instance is now, and writes that where it is more than one turn further.
pub(crate) fn record(instance: &mut Instance, unit: &mut Unit) {
    let (incarnation, state) = (instance.incarnation, instance.describe());
    let to_save = instance.to_save();
    if instance.saved.as_ref() != Some(&to_save) {
        let ended = instance.completed.is_some();
        if ended || !instance.unrecorded {
            let (parked, state) = (instance.parked.clone(), Some(state.clone()));
            let record = InstanceV1 { version: 0, incarnation, state, parked };
            unit.put(stored::instance_key(&instance.key), record.write());
            if std::mem::take(&mut instance.unrecorded) {
                unit.then(Effect::Recorded(instance.key.clone()));
            }
        }
        let told = |saved: Option<&Saved>| saved.is_some_and(Saved::says_more);
        if !ended && (told(instance.saved.as_ref()) || told(Some(&to_save))) {
            unit.put(stored::active_key(&instance.key.app, incarnation), active(instance));
        }
        instance.saved = Some(to_save);
    }
    unit.then(Effect::Show(instance.key.clone(), incarnation, Some(Box::new(state))));
}

pub(crate) fn active(instance: &Instance) -> bytes::Bytes {
    let (custom_status, parked) = (instance.custom_status.clone(), instance.parked.clone());
    let id = instance.key.id.to_string();
    let recorded = !instance.unrecorded;
    ActiveV1 { version: 0, id, whole: true, custom_status, parked, recorded }.write()
}
