//! How often clients may ask: each user, and everybody together for the keys below a prefix. Off by default.
//!
//! Who asks too often is refused before anybody else has work with it: for a user before the request is read, for a
//! prefix before it is proposed or carried out. What is refused costs no tokens, of nobody.

mod bucket;
mod touched;

use std::collections::HashMap;
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use quorate_host::Clock;
use quorate_mvcc::KeyRange;
use quorate_raft::Time;

use self::bucket::Bucket;
pub use self::bucket::Rate;
pub(crate) use self::touched::Touched;
use crate::rpc::Failure;

/// How many users have a bucket of their own. The others, beyond that, share one: a full bucket is as good as none, so
/// it takes so many users who all ask within the time that fills one.
const USERS_MAX: usize = 10_000;

/// What is allowed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rates {
    /// To each user.
    pub user: Option<Rate>,
    /// To all clients together, for the keys with these prefixes.
    pub prefixes: Vec<(Bytes, Rate)>,
}

/// What is left of it.
#[derive(Debug)]
pub(crate) struct RateLimits {
    user: Option<Rate>,
    /// The keys with each prefix.
    prefixes: Vec<(KeyRange, Rate)>,
    clock: Clock,
    users: Mutex<Users>,
    /// For each prefix.
    buckets: Mutex<Vec<Bucket>>,
    refused: [AtomicU64; 2],
}

/// Whose rate was exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    /// A user's.
    User,
    /// That of a prefix.
    Prefix,
}

impl Whose {
    pub(crate) const ALL: [Self; 2] = [Self::User, Self::Prefix];

    /// The word in the metrics.
    pub(crate) fn label(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Prefix => "prefix",
        }
    }
}

/// The buckets of users.
#[derive(Debug)]
struct Users {
    buckets: HashMap<String, Bucket>,
    /// That of all who have none.
    shared: Bucket,
    most: usize,
    /// When it was last looked for buckets that are full again.
    swept: Time,
}

impl Users {
    fn new(rate: Rate, now: Time, most: usize) -> Self {
        Self { buckets: HashMap::new(), shared: Bucket::full(rate, now), most, swept: now }
    }

    /// The bucket of a user.
    fn bucket(&mut self, rate: Rate, name: &str, now: Time) -> &mut Bucket {
        let is_there = self.buckets.contains_key(name);
        // A bucket is full again after a second or longer; to look more often would be work for nothing.
        if !is_there && self.buckets.len() >= self.most && now.since(self.swept).as_millis() >= 1000
        {
            self.swept = now;
            self.buckets.retain(|_, bucket| !bucket.is_full(rate, now));
        }
        if !is_there && self.buckets.len() >= self.most {
            return &mut self.shared;
        }
        // Nearly always there: no copy of the name is made then.
        if !is_there {
            self.buckets.insert(name.to_owned(), Bucket::full(rate, now));
        }
        self.buckets.get_mut(name).expect("it is there by now")
    }
}

impl RateLimits {
    pub(crate) fn new(rates: Rates) -> Self {
        let clock = Clock::start();
        let now = clock.now();
        let none = Rate { per_second: 1, burst: 1 };
        let users = Users::new(rates.user.unwrap_or(none), now, USERS_MAX);
        let buckets = rates.prefixes.iter().map(|(_, rate)| Bucket::full(*rate, now)).collect();
        let keys = |(prefix, rate)| (KeyRange::prefix(prefix), rate);
        Self {
            user: rates.user,
            prefixes: rates.prefixes.into_iter().map(keys).collect(),
            clock,
            users: Mutex::new(users),
            buckets: Mutex::new(buckets),
            refused: Default::default(),
        }
    }

    /// Counts a call of a user.
    ///
    /// # Errors
    /// [`Failure::TooManyRequests`].
    pub(crate) fn user(&self, name: &str) -> Result<(), Failure> {
        match self.user {
            None => Ok(()),
            Some(rate) => self.user_at(rate, name, self.clock.now()),
        }
    }

    fn user_at(&self, rate: Rate, name: &str, now: Time) -> Result<(), Failure> {
        let mut users = lock(&self.users);
        let bucket = users.bucket(rate, name, now);
        if !bucket.has(rate, 1, now) {
            return Err(self.refuse(Whose::User));
        }
        bucket.take(rate, 1);
        Ok(())
    }

    /// Counts a request by what it touches: each of its operations once for each prefix of which it may touch a key.
    ///
    /// # Errors
    /// [`Failure::TooManyRequests`].
    pub(crate) fn keys(&self, request: &impl Touched) -> Result<(), Failure> {
        if self.prefixes.is_empty() {
            return Ok(());
        }
        self.keys_at(request, self.clock.now())
    }

    fn keys_at(&self, request: &impl Touched, now: Time) -> Result<(), Failure> {
        let mut tokens = vec![0_u32; self.prefixes.len()];
        request.touched(&mut |range| {
            for ((keys, _), tokens) in self.prefixes.iter().zip(&mut tokens) {
                *tokens = tokens.saturating_add(u32::from(touches(range, keys)));
            }
        });
        let mut buckets = lock(&self.buckets);
        let rates = self.prefixes.iter().map(|(_, rate)| *rate);
        let each = || rates.clone().zip(&tokens);
        let mut has_all = true;
        for (bucket, (rate, tokens)) in buckets.iter_mut().zip(each()) {
            has_all &= *tokens == 0 || bucket.has(rate, *tokens, now);
        }
        if !has_all {
            return Err(self.refuse(Whose::Prefix));
        }
        for (bucket, (rate, tokens)) in buckets.iter_mut().zip(each()) {
            bucket.take(rate, *tokens);
        }
        Ok(())
    }

    /// How many requests were refused.
    pub(crate) fn refused(&self, whose: Whose) -> u64 {
        self.refused[whose as usize].load(Ordering::Relaxed)
    }

    fn refuse(&self, whose: Whose) -> Failure {
        self.refused[whose as usize].fetch_add(1, Ordering::Relaxed);
        Failure::TooManyRequests
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether a range may have a key that another one has.
fn touches(range: &KeyRange, other: &KeyRange) -> bool {
    let begins_before = |one: &KeyRange, end: Bound<&[u8]>| match end {
        Bound::Included(end) => one.first() <= end,
        Bound::Excluded(end) => one.first() < end,
        Bound::Unbounded => true,
    };
    !range.is_empty() && begins_before(other, range.end()) && begins_before(range, other.end())
}

#[cfg(test)]
mod tests;
