//! [`Access`]: who is let do what. The decision needs headers and the connection only, and is made before a body is read.
//!
//! A token, a certificate and a password that was shown before are decided at once; only a password that is new takes Argon2,
//! off the workers, two at a time.

use std::sync::Arc;

use http::{HeaderName, Request};
use http_body::Body;
use http_body_util::BodyDataStream;
use larder_cas::blocking;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::credentials::{
    Credentials, CredentialsError, CredentialsFile, Identity, PasswordEntry, open_credentials,
};
use super::guesses::Guesses;
use super::peer::Peer;
use super::presented::{Presented, Secret};
use super::refusal::{Refusal, RefusalCounts};
use super::role::Role;
use super::rules::Need;
use crate::config::AuthSettings;
use crate::edge::Drainer;

/// Of Argon2, each of which takes a core and 19 MiB.
const COMPUTING_MAX: usize = 2;
/// Calls that wait for their turn, with their headers only.
const WAITING_MAX: usize = 4096;

/// Who is let do what.
#[derive(Debug)]
pub struct Access {
    /// `None`: nobody is asked.
    asked: Option<Asked>,
    counts: RefusalCounts,
    drainer: Drainer,
}

#[derive(Debug)]
struct Asked {
    credentials: Option<CredentialsFile>,
    anonymous: Option<Role>,
    certificates: Option<Role>,
    header: Option<HeaderName>,
    guesses: Guesses,
    computing: Arc<Semaphore>,
    waiting: Semaphore,
}

/// What a request may do; an extension of it.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Granted {
    /// `None`: what needs none.
    role: Option<Role>,
    /// Who gives an admin's order; of others nobody need know.
    pub(super) admin: Option<Arc<str>>,
}

/// What the headers decide.
#[derive(Debug)]
pub(super) enum Verdict {
    Granted(Granted),
    Refused(Refusal),
    /// A password that was not shown before.
    Undecided(PasswordCheck),
}

/// A password that is to be checked.
#[derive(Debug)]
pub(super) struct PasswordCheck {
    entries: Vec<Arc<PasswordEntry>>,
    /// The entries are somebody else's, since nobody has this name.
    is_decoy: bool,
    password: Secret,
    peer: Arc<Peer>,
    need: Role,
}

impl Granted {
    /// What `role` lets do.
    fn to(role: Role) -> Self {
        Self { role: Some(role), admin: None }
    }

    /// Whether it lets do what needs `role`.
    pub(crate) fn is_at_least(&self, role: Role) -> bool {
        self.role.is_some_and(|granted| granted >= role)
    }
}

impl Access {
    /// Reads the credentials that the settings name. `ending` is cancelled when the drain begins.
    pub fn open(
        settings: Option<&AuthSettings>,
        ending: CancellationToken,
    ) -> Result<Self, CredentialsError> {
        let (counts, drainer) = (RefusalCounts::default(), Drainer::new(ending));
        let Some(settings) = settings else { return Ok(Self { asked: None, counts, drainer }) };
        let file = settings.credentials_file.as_deref();
        let asked = Asked {
            credentials: file.map(open_credentials).transpose()?,
            anonymous: settings.anonymous,
            certificates: settings.certificates,
            header: settings.header.clone(),
            guesses: Guesses::new(),
            computing: Arc::new(Semaphore::new(COMPUTING_MAX)),
            waiting: Semaphore::new(WAITING_MAX),
        };
        Ok(Self { asked: Some(asked), counts, drainer })
    }

    /// The file with the credentials, if there is one.
    pub fn credentials(&self) -> Option<&CredentialsFile> {
        self.asked.as_ref()?.credentials.as_ref()
    }

    /// How many calls were refused, and why.
    pub fn refusals(&self) -> &RefusalCounts {
        &self.counts
    }

    /// Throws away what a refused client goes on sending, within bounds: some take a reset stream for a broken one, and never read
    /// the answer.
    pub(super) fn discard<B>(&self, body: B)
    where
        B: Body<Data: Send, Error: Send> + Send + Unpin + 'static,
    {
        if !body.is_end_stream() {
            self.drainer.drain(BodyDataStream::new(body));
        }
    }

    pub(super) fn judge<B>(&self, request: &Request<B>, need: Need) -> Verdict {
        let Need::Role(need) = need else { return Verdict::Granted(Granted::default()) };
        let peer = Peer::of(request.extensions());
        let Some(asked) = &self.asked else {
            // What only an admin may do needs somebody on this machine.
            let is_local = peer.is_some_and(|peer| peer.is_local());
            return match if is_local { Role::Admin } else { Role::Write } {
                role if role >= need => Verdict::Granted(Granted::to(role)),
                _ => Verdict::Refused(Refusal::NotLocal),
            };
        };
        let peer = peer.cloned().unwrap_or_default();
        asked.judge(request, peer, need)
    }

    pub(super) async fn check(&self, check: PasswordCheck) -> Result<Granted, Refusal> {
        match &self.asked {
            Some(asked) => asked.check(check).await,
            None => Err(Refusal::Unknown),
        }
    }
}

impl Asked {
    fn judge<B>(&self, request: &Request<B>, peer: Arc<Peer>, need: Role) -> Verdict {
        let credentials = self.credentials.as_ref().map(CredentialsFile::current);
        let credentials = credentials.as_deref();
        match Presented::by(request, self.header.as_ref()) {
            Presented::Nothing => self.without_secret(credentials, &peer, need),
            Presented::Token(token) => {
                match credentials.and_then(|known| known.by_token(&token.0)) {
                    Some(identity) => held(identity, need),
                    None => Verdict::Refused(self.unknown(&peer)),
                }
            }
            Presented::Basic { user, password } => {
                let Some(credentials) = credentials else {
                    return Verdict::Refused(self.unknown(&peer));
                };
                with_password(credentials, &user, password, peer, need)
                    .unwrap_or_else(|peer| Verdict::Refused(self.unknown(&peer)))
            }
            Presented::Garbage => Verdict::Refused(Refusal::Garbage),
        }
    }

    fn without_secret(
        &self,
        credentials: Option<&Credentials>,
        peer: &Peer,
        need: Role,
    ) -> Verdict {
        if let Some(names) = &peer.certificate {
            if let Some(identity) = credentials.and_then(|known| known.by_certificate(names)) {
                return held(identity, need);
            }
            if let Some(role) = self.certificates.max(self.anonymous) {
                let name = names.first().map_or("a certificate", String::as_str);
                return held(&Identity { name: name.into(), role }, need);
            }
        }
        match self.anonymous {
            Some(role) if role >= need => Verdict::Granted(Granted::to(role)),
            // Who says who he is may do more.
            Some(_) | None => Verdict::Refused(Refusal::Missing),
        }
    }

    /// One wrong secret more.
    fn unknown(&self, peer: &Peer) -> Refusal {
        if self.guesses.admit(peer.address) { Refusal::Unknown } else { Refusal::TooMany }
    }

    async fn check(&self, check: PasswordCheck) -> Result<Granted, Refusal> {
        let PasswordCheck { entries, is_decoy, password, peer, need } = check;
        let _place = self.waiting.try_acquire().map_err(|_| Refusal::TooMany)?;
        let turn = Arc::clone(&self.computing).acquire_owned().await;
        let turn = turn.map_err(|_| Refusal::TooMany)?;
        // Of many calls with one password the first computes, and the others find it remembered.
        let remembered = entries.iter().find(|entry| entry.verified.is(&password.0));
        if let Some(entry) = remembered.filter(|_| !is_decoy) {
            return decided(held(&entry.identity, need));
        }
        if !self.guesses.admit(peer.address) {
            return Err(Refusal::TooMany);
        }
        let right = blocking::run(move || {
            // A password whose call is gone is computed nevertheless, and keeps its turn until then.
            let _turn = turn;
            let right = entries.into_iter().find(|entry| entry.password.is(&password.0))?;
            right.verified.remember(&password.0);
            Some(right)
        });
        match right.await.ok().flatten() {
            Some(entry) if !is_decoy => decided(held(&entry.identity, need)),
            _ => Err(Refusal::Unknown),
        }
    }
}

fn held(identity: &Identity, need: Role) -> Verdict {
    if identity.role >= need {
        // A count that all workers share is touched for orders alone.
        let admin = (need == Role::Admin).then(|| Arc::clone(&identity.name));
        return Verdict::Granted(Granted { role: Some(identity.role), admin });
    }
    let (name, role) = (Arc::clone(&identity.name), identity.role);
    Verdict::Refused(Refusal::Denied { name, role, need })
}

fn decided(verdict: Verdict) -> Result<Granted, Refusal> {
    match verdict {
        Verdict::Granted(granted) => Ok(granted),
        Verdict::Refused(refusal) => Err(refusal),
        Verdict::Undecided(_) => Err(Refusal::Unknown),
    }
}

/// Gives the peer back where nobody has a password at all.
fn with_password(
    credentials: &Credentials,
    user: &str,
    password: Secret,
    peer: Arc<Peer>,
    need: Role,
) -> Result<Verdict, Arc<Peer>> {
    // Clients that know no bearer send their token as a password.
    let by_token = credentials.by_token(&password.0).filter(|identity| *identity.name == *user);
    if let Some(identity) = by_token {
        return Ok(held(identity, need));
    }
    let own = credentials.passwords_of(user);
    if let Some(entry) = own.iter().find(|entry| entry.verified.is(&password.0)) {
        return Ok(held(&entry.identity, need));
    }
    let is_decoy = own.is_empty();
    let entries = match credentials.decoy() {
        Some(decoy) if is_decoy => vec![Arc::clone(decoy)],
        Some(_) => own.to_vec(),
        None => return Err(peer),
    };
    Ok(Verdict::Undecided(PasswordCheck { entries, is_decoy, password, peer, need }))
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Waker};
    use std::time::Duration;

    use http::header::AUTHORIZATION;

    use super::*;

    #[test]
    fn a_password_keeps_its_turn_when_its_call_is_gone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("credentials");
        let hash = "$argon2id$v=19$m=19456,t=2,p=1$iTT4Q0a6VvLMJqVDYZvw7A$nAHIokdVjWqCgPF8MzLHkdYgYokzUD/vx/F0qfNsX8A";
        std::fs::write(&path, format!("alice write password {hash}\n")).unwrap();
        let settings = AuthSettings {
            credentials_file: Some(path),
            anonymous: None,
            certificates: None,
            header: None,
        };
        let access = Access::open(Some(&settings), CancellationToken::new()).unwrap();
        let turns = &access.asked.as_ref().unwrap().computing;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .max_blocking_threads(1)
            .build()
            .unwrap();
        runtime.block_on(async {
            let (let_go, is_held) = std::sync::mpsc::channel::<()>();
            let busy = tokio::task::spawn_blocking(move || is_held.recv());
            let request = Request::get("/").header(AUTHORIZATION, "Basic YWxpY2U6d3Jvbmc=");
            let verdict = access.judge(&request.body(()).unwrap(), Need::Role(Role::Read));
            let Verdict::Undecided(check) = verdict else { panic!("a new password: {verdict:?}") };
            let mut call = Box::pin(access.check(check));
            assert!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
            drop(call);
            assert_eq!(turns.available_permits(), COMPUTING_MAX - 1);

            drop(let_go);
            assert!(busy.await.unwrap().is_err());
            let all = turns.acquire_many(COMPUTING_MAX.try_into().unwrap());
            let all = tokio::time::timeout(Duration::from_mins(1), all).await;
            assert!(all.is_ok(), "its turn has ended");
        });
    }
}
