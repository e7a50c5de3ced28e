//! What people ask for that is not about jobs: accounts and logins.

use campusgrid_protocol::id::UserId;

use crate::effect::{Change, Effects, Refusal, Reply};
use crate::grid::Grid;
use crate::input::Registration;
use crate::time::Timestamp;
use crate::user::{Role, User};

impl Grid {
    pub(crate) fn on_register(&mut self, new: Registration, effects: &mut Effects) -> Reply {
        let Registration { name, email, password_hash, local } = new;
        if self.names.contains_key(&name.to_lowercase()) {
            return Reply::Refused(Refusal::NameTaken);
        }
        let id = UserId(self.users.last_key_value().map_or(0, |(last, _)| last.0) + 1);
        let operated = self.users.values().any(|user| user.role == Role::Operator);
        let role = if local && !operated { Role::Operator } else { Role::Member };
        let user = User { id, name, role };
        self.names.insert(user.name.to_lowercase(), id);
        self.users.insert(id, user.clone());
        effects.changes.push(Change::UserRegistered {
            user: user.clone(),
            email,
            password_hash,
            at: self.now,
        });
        self.ledger.grant(id, self.policy.starting_credits, self.now, &mut effects.changes);
        Reply::Registered { user }
    }

    pub(crate) fn on_open_login(
        &self,
        user: UserId,
        token_hash: [u8; 32],
        until: Timestamp,
        effects: &mut Effects,
    ) -> Reply {
        effects.changes.push(Change::LoginsOver { at: self.now });
        effects.changes.push(Change::LoginOpened { user, token_hash, until });
        Reply::Done
    }

    pub(crate) fn on_close_login(token_hash: [u8; 32], effects: &mut Effects) -> Reply {
        effects.changes.push(Change::LoginClosed { token_hash });
        Reply::Done
    }

    /// Whether a user may act on what belongs to `owner`.
    pub(crate) fn may_act_for(&self, user: UserId, owner: UserId) -> bool {
        let is_operator = || self.users.get(&user).is_some_and(|user| user.role == Role::Operator);
        user == owner || is_operator()
    }
}
