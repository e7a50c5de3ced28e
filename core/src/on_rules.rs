//! What owners say about their machines, and what the machines say of that.

use std::sync::Arc;

use campusgrid_protocol::id::{SessionId, UserId, WorkerId};
use campusgrid_protocol::message::ToWorker;
use campusgrid_protocol::rules::{Rules, Shares};

use crate::effect::{Change, Effects, Refusal, Reply};
use crate::grid::Grid;
use crate::sharing::{Cap, next_change};

impl Grid {
    /// The rules of a machine, of which it is told at once. What runs there goes on as far as the machine
    /// itself lets it.
    pub(crate) fn on_set_rules(
        &mut self,
        user: UserId,
        id: WorkerId,
        rules: Rules,
        effects: &mut Effects,
    ) -> Reply {
        if self.own_worker(user, id).is_none() {
            return Reply::Refused(Refusal::NotFound);
        }
        let worker = self.workers.get_mut(&id).expect("it has just been looked up");
        if *worker.rules != rules {
            let (told, rules) = (Box::new(rules.clone()), Arc::new(rules));
            worker.rules = Arc::clone(&rules);
            effects.changes.push(Change::WorkerRulesSet { worker: id, rules, at: self.now });
            self.send(id, ToWorker::Rules(told), effects);
            self.share(id);
            self.on_machine_ready(id, effects);
        }
        Reply::Done
    }

    /// A machine says how it is shared from now on.
    pub(crate) fn on_shares(&mut self, session: SessionId, shares: Shares, effects: &mut Effects) {
        let Some(&worker) = self.worker_of_session.get(&session) else { return };
        let link = self.links.get_mut(&worker).expect("a session in use has a link");
        if link.shares.as_deref() != Some(&shares) {
            let before = link.shares.as_deref().map(|shares| &shares.limits);
            let is_other = before != Some(&shares.limits);
            link.shares = Some(Arc::new(shares));
            self.share(worker);
            if is_other {
                // Not for a phase, which comes and goes with the owner: a bid is for later.
                self.on_machine_ready(worker, effects);
            }
        }
    }

    /// A machine may take more than before, or less.
    fn share(&mut self, id: WorkerId) {
        let Some(link) = self.links.get_mut(&id) else { return };
        link.cap = Cap::of(&self.workers[&id].rules, link.shares.as_deref());
        self.update_room(id, |_| {});
        self.freed.insert(id);
        self.watch_rules(id);
    }

    /// Notes when a connected machine may be shared, or no longer, by its rules alone.
    pub(crate) fn watch_rules(&mut self, id: WorkerId) {
        let is_connected = self.links.contains_key(&id);
        let rules = &self.workers[&id].rules;
        match next_change(rules, self.now).filter(|_| is_connected) {
            Some(at) => self.rule_ends.renew(id, at),
            None => self.rule_ends.close(&id),
        }
    }
}
