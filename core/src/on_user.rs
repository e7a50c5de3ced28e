//! What people ask for that is not about jobs: accounts, logins, tokens and roles.

use campusgrid_protocol::id::{ApiTokenId, LoginId, UserId};

use crate::effect::{Change, Effects, Refusal, Reply};
use crate::grid::Grid;
use crate::input::{NewApiToken, NewLogin, Registration};
use crate::policy::Admission;
use crate::time::Timestamp;
use crate::user::{LOCAL, Role, User};
use crate::voucher::{Purpose, Shown};

impl Grid {
    pub(crate) fn on_register(&mut self, new: Registration, effects: &mut Effects) -> Reply {
        if let Some(refusal) = self.shut() {
            return Reply::Refused(refusal);
        }
        let Registration { name, email, password_hash, local, invitation } = new;
        let is_first = local && self.operators() == 0;
        // Before the name: only those who may come in learn which names are taken.
        let invitation = match self.admit(is_first, invitation) {
            Ok(invitation) => invitation,
            Err(refusal) => return Reply::Refused(refusal),
        };
        if self.names.contains_key(&name.to_lowercase()) {
            return Reply::Refused(Refusal::NameTaken);
        }
        if let Some(shown) = invitation {
            self.use_voucher(shown.id, effects);
        }
        let id = UserId(self.users.last_key_value().map_or(0, |(last, _)| last.0) + 1);
        let role = if is_first { Role::Operator } else { Role::Member };
        let user = User { id, name, role };
        self.names.insert(user.name.to_lowercase(), id);
        self.users.insert(id, user.clone());
        effects.changes.push(Change::UserRegistered {
            user: user.clone(),
            email,
            password_hash,
            at: self.now,
        });
        if !self.policy.verified_grants {
            self.ledger.grant(id, self.policy.starting_credits, self.now, &mut effects.changes);
        }
        Reply::Registered { user }
    }

    /// An address is a user's: where starting credits are given for that, they are, once for each
    /// address and once to each user.
    pub(crate) fn on_verify(
        &mut self,
        user: UserId,
        identity: [u8; 32],
        effects: &mut Effects,
    ) -> Reply {
        if let Some(refusal) = self.shut() {
            return Reply::Refused(refusal);
        }
        if !self.users.contains_key(&user) {
            return Reply::Refused(Refusal::NotFound);
        }
        let is_new = self.identities.insert(identity);
        effects.changes.push(Change::UserVerified { user, identity, at: self.now });
        if is_new && self.policy.verified_grants && !self.was_granted(user) {
            self.ledger.grant(user, self.policy.starting_credits, self.now, &mut effects.changes);
        }
        Reply::Done
    }

    /// Whether a user was given starting credits before.
    fn was_granted(&self, user: UserId) -> bool {
        let jobs = self.jobs_of.get(&user).into_iter().flatten();
        let held = jobs.map(|id| self.jobs[id].held_of_submitter()).sum();
        self.ledger.was_granted(user, held)
    }

    /// Whether somebody may register, and the invitation that this uses.
    fn admit(&self, is_first: bool, shown: Option<Shown>) -> Result<Option<Shown>, Refusal> {
        if is_first {
            return Ok(None);
        }
        match (self.policy.admission, shown) {
            (Admission::Open, _) => Ok(None),
            (Admission::Closed, _) => Err(Refusal::RegistrationClosed),
            (Admission::Invitation, None) => Err(Refusal::InvitationNeeded),
            (Admission::Invitation, Some(shown)) => {
                match self.voucher(&shown).map(|voucher| voucher.purpose) {
                    Some(Purpose::Invitation { .. }) => Ok(Some(shown)),
                    Some(Purpose::Join { .. }) | None => Err(Refusal::VoucherUnknown),
                }
            }
        }
    }

    pub(crate) fn on_open_login(&self, login: NewLogin, effects: &mut Effects) -> Reply {
        if !self.users.contains_key(&login.user) {
            return Reply::Refused(Refusal::NotFound);
        }
        effects.changes.push(Change::LoginsOver { at: self.now });
        effects.changes.push(Change::LoginOpened { login, at: self.now });
        Reply::Done
    }

    pub(crate) fn on_close_login(token_hash: [u8; 32], effects: &mut Effects) -> Reply {
        effects.changes.push(Change::LoginClosed { token_hash });
        Reply::Done
    }

    pub(crate) fn on_revoke_login(user: UserId, login: LoginId, effects: &mut Effects) -> Reply {
        effects.changes.push(Change::LoginRevoked { user, login });
        Reply::Done
    }

    pub(crate) fn on_revoke_logins(
        user: UserId,
        but: Option<[u8; 32]>,
        effects: &mut Effects,
    ) -> Reply {
        effects.changes.push(Change::LoginsRevoked { user, but });
        Reply::Done
    }

    pub(crate) fn on_change_password(
        &self,
        user: UserId,
        password_hash: String,
        but: Option<[u8; 32]>,
        effects: &mut Effects,
    ) -> Reply {
        if !self.users.contains_key(&user) {
            return Reply::Refused(Refusal::NotFound);
        }
        effects.changes.push(Change::PasswordChanged { user, password_hash, at: self.now });
        // Whoever knew the old one may be logged in by it, or have made API tokens: they end with it.
        effects.changes.push(Change::LoginsRevoked { user, but });
        Reply::Done
    }

    pub(crate) fn on_rehash(
        user: UserId,
        from: String,
        to: String,
        effects: &mut Effects,
    ) -> Reply {
        effects.changes.push(Change::PasswordRehashed { user, from, to });
        Reply::Done
    }

    pub(crate) fn on_open_api_token(&self, token: NewApiToken, effects: &mut Effects) -> Reply {
        if !self.users.contains_key(&token.user) {
            return Reply::Refused(Refusal::NotFound);
        }
        effects.changes.push(Change::ApiTokenOpened { token, at: self.now });
        Reply::Done
    }

    pub(crate) fn on_revoke_api_token(
        user: UserId,
        token: ApiTokenId,
        effects: &mut Effects,
    ) -> Reply {
        effects.changes.push(Change::ApiTokenRevoked { user, token });
        Reply::Done
    }

    pub(crate) fn on_used(
        logins: Vec<(LoginId, Timestamp)>,
        tokens: Vec<(ApiTokenId, Timestamp)>,
        effects: &mut Effects,
    ) -> Reply {
        if !logins.is_empty() || !tokens.is_empty() {
            effects.changes.push(Change::Used { logins, tokens });
        }
        Reply::Done
    }

    pub(crate) fn on_set_role(
        &mut self,
        by: UserId,
        id: UserId,
        role: Role,
        effects: &mut Effects,
    ) -> Reply {
        if !self.is_operator(by) {
            return Reply::Refused(Refusal::NotAnOperator);
        }
        let operators = self.operators();
        let Some(user) = self.users.get_mut(&id) else {
            return Reply::Refused(Refusal::NotFound);
        };
        if user.role == role {
            return Reply::Done;
        }
        if user.role == Role::Operator && operators == 1 {
            return Reply::Refused(Refusal::LastOperator);
        }
        user.role = role;
        effects.changes.push(Change::RoleSet { by, user: id, role, at: self.now });
        if role == Role::Member {
            self.end_invitations_of(id, effects);
        }
        Reply::Done
    }

    /// Whether a user may act on what belongs to `owner`.
    pub(crate) fn may_act_for(&self, user: UserId, owner: UserId) -> bool {
        user == owner || self.is_operator(user)
    }

    pub(crate) fn is_operator(&self, user: UserId) -> bool {
        user == LOCAL || self.users.get(&user).is_some_and(|user| user.role == Role::Operator)
    }

    fn operators(&self) -> usize {
        self.users.values().filter(|user| user.role == Role::Operator).count()
    }
}
