//! Replaces the instances of one service in turn, so that a service with several goes on serving.
//!
//! Who serves waits until every other instance of the service is fit to serve again. When the
//! first of them does not become ready, the rest stays as it is: a specification that does not
//! work costs one instance, not the service. What serves nothing is replaced at once.

use archipel_model::InstanceId;

use super::Engine;
use crate::machine::{Event, Goal, Phase, Why};

impl Engine {
    /// Ends and starts anew, when its turn has come.
    pub(super) fn again_in_turn(&mut self, id: &InstanceId, why: Why) {
        if let Some(cell) = self.cells.get_mut(id) {
            cell.again = Some(why);
            cell.dirty = true;
        }
    }

    /// Lets go whoever need not wait any longer, and tells the others for whom they wait.
    pub(super) fn replace_in_turn(&mut self) {
        let waiting: Vec<InstanceId> = self
            .cells
            .iter()
            .filter(|(_, c)| c.again.is_some())
            .map(|(id, _)| id.clone())
            .collect();
        for id in waiting {
            let blocker = self.holds_up(&id);
            let Some(cell) = self.cells.get_mut(&id) else { continue };
            if let Some(blocker) = blocker {
                let waits = format!("to be replaced, when {blocker} is ready");
                cell.dirty |= cell.waits != waits;
                cell.waits = waits;
            } else if let Some(why) = cell.again.take() {
                self.step(&id, Event::Again(why));
            }
        }
    }

    /// The other instance of its service that has to be ready first.
    fn holds_up(&self, id: &InstanceId) -> Option<InstanceId> {
        let serves = |phase: &Phase| *phase == Phase::Up { ready: true };
        if !serves(self.cells.get(id)?.machine.phase()) {
            return None;
        }
        let mut others = self.cells.iter().filter(|(other, cell)| {
            let machine = &cell.machine;
            other.service == id.service
                && *other != id
                && machine.goal() == Goal::Run
                && !serves(machine.phase())
                && *machine.phase() != Phase::Completed
        });
        others.next().map(|(other, _)| other.clone())
    }
}
