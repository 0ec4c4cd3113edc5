use super::*;

const MINUTE: Duration = Duration::from_secs(60);

fn store() -> StoreId {
    "s".into()
}

fn value(text: &str) -> LoadResult {
    Ok(Arc::new(SecretValue::string(text)))
}

fn for_a(ttl: Duration) -> Keep {
    Keep { ttl, ..Keep::default() }
}

fn wanted<'a>(store: &'a StoreId, name: &'a str, join: Join) -> WantedValue<'a> {
    WantedValue { store, name, detail: false, kept: true, join }
}

fn find(cache: &Cache, name: &str, now: Instant) -> Lookup {
    look(cache, name, Join::Any, now)
}

fn look(cache: &Cache, name: &str, join: Join, now: Instant) -> Lookup {
    cache.find(wanted(&store(), name, join), now)
}

fn begin(cache: &Cache, name: &str) -> Ticket {
    begin_at(cache, name, Instant::now())
}

fn begin_at(cache: &Cache, name: &str, now: Instant) -> Ticket {
    match find(cache, name, now) {
        Lookup::Miss(ticket) => ticket,
        _ => panic!("a cold key is a miss"),
    }
}

fn hit(cache: &Cache, name: &str, now: Instant) -> Option<Hit> {
    match find(cache, name, now) {
        Lookup::Fresh(hit) => Some(hit),
        _ => None,
    }
}

fn fresh(cache: &Cache, name: &str, now: Instant) -> Option<String> {
    hit(cache, name, now)?.value.as_text().map(str::to_owned)
}

fn missing() -> LoadResult {
    Err(BridgeError::NotFound { vault: "v".into(), key: "k".into() })
}

fn failure() -> LoadResult {
    Err(BridgeError::Saturated)
}

#[tokio::test(start_paused = true)]
async fn a_value_is_served_until_its_time_is_over() {
    let (cache, now) = (Cache::default(), Instant::now());
    cache.finish(begin(&cache, "k"), value("v"), &for_a(MINUTE), now);
    assert_eq!(fresh(&cache, "k", now + MINUTE / 2).as_deref(), Some("v"));
    assert_eq!(fresh(&cache, "k", now + MINUTE), None);
}

/// A notice of a change in the middle of a load is for that key too: what the load gives may be older.
#[tokio::test(start_paused = true)]
async fn a_name_is_known_while_it_is_loaded_and_while_it_is_kept() {
    let (cache, now) = (Cache::default(), Instant::now());
    assert!(cache.names(&store()).is_empty());
    let given_up = begin(&cache, "gone");
    let ticket = begin(&cache, "k");
    drop(given_up);
    assert_eq!(cache.names(&store()), ["k"]);
    cache.finish(ticket, value("v"), &for_a(MINUTE), now);
    assert_eq!(cache.names(&store()), ["k"]);
    cache.touched(&store(), "k");
    assert!(cache.names(&store()).is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_values_time_counts_from_when_it_was_asked_for() {
    let (cache, now) = (Cache::default(), Instant::now());
    cache.finish(begin(&cache, "k"), value("v"), &for_a(MINUTE), now + MINUTE / 2);
    let hit = hit(&cache, "k", now + MINUTE * 3 / 4).unwrap();
    assert_eq!((hit.freshness.age, hit.freshness.bound), (MINUTE * 3 / 4, MINUTE));
    assert_eq!(hit.freshness.left(), 15);
    assert_eq!(fresh(&cache, "k", now + MINUTE), None);
}

#[tokio::test(start_paused = true)]
async fn a_load_begun_before_a_write_is_neither_stored_nor_joined_after_it() {
    let (cache, now) = (Cache::default(), Instant::now());
    let old = begin(&cache, "k");
    assert!(matches!(find(&cache, "k", now), Lookup::Loading(..)), "before the write it is joined");
    cache.touched(&store(), "K");
    let new = begin(&cache, "k");
    cache.finish(old, value("old"), &for_a(MINUTE), now);
    assert_eq!(fresh(&cache, "k", now), None);
    cache.finish(new, value("new"), &for_a(MINUTE), now);
    assert_eq!(fresh(&cache, "k", now).as_deref(), Some("new"));
    cache.touched(&store(), "K");
    assert_eq!(fresh(&cache, "k", now), None);
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_get_the_one_outcome() {
    let (cache, now) = (Cache::default(), Instant::now());
    let ticket = begin(&cache, "k");
    let Lookup::Loading(mut waiting, _) = find(&cache, "k", now) else { panic!("one load") };
    cache.finish(ticket, value("v"), &Keep::default(), now);
    let outcome = waiting.wait_for(Option::is_some).await.unwrap().clone().unwrap();
    assert_eq!(outcome.unwrap().as_text(), Some("v"));
    assert_eq!(fresh(&cache, "k", now), None, "no time to live, no value kept");
}

#[tokio::test(start_paused = true)]
async fn a_load_given_up_is_begun_again() {
    let cache = Cache::default();
    drop(begin(&cache, "k"));
    begin(&cache, "k");
}

#[tokio::test(start_paused = true)]
async fn who_wants_the_exact_type_neither_gets_nor_joins_a_value_without_it() {
    let (cache, now, store) = (Cache::default(), Instant::now(), store());
    let exact = WantedValue { detail: true, ..wanted(&store, "k", Join::Any) };
    let rough = begin(&cache, "k");
    let Lookup::Miss(own) = cache.find(exact, now) else { panic!("it joins no load without the type") };
    cache.finish(rough, value("rough"), &for_a(MINUTE), now);
    assert!(!matches!(cache.find(exact, now), Lookup::Fresh(_)), "nor does it get its value");
    cache.finish(own, value("exact"), &for_a(MINUTE), now);
    let Lookup::Fresh(hit) = cache.find(exact, now) else { panic!("a load with the type was kept") };
    assert_eq!(hit.value.as_text(), Some("exact"));
    assert_eq!(fresh(&cache, "k", now).as_deref(), Some("exact"), "which will do for all");
}

#[tokio::test(start_paused = true)]
async fn who_holds_a_worker_joins_no_load_that_may_wait_for_one() {
    let (cache, now) = (Cache::default(), Instant::now());
    let queued = begin(&cache, "k");
    let Lookup::Miss(own) = look(&cache, "k", Join::InWorker, now) else { panic!("its own load") };
    assert!(matches!(look(&cache, "k", Join::InWorker, now), Lookup::Loading(..)));
    assert!(matches!(look(&cache, "k", Join::Any, now), Lookup::Loading(..)));
    let Lookup::Miss(_) = look(&cache, "k", Join::Never, now) else { panic!("its own load") };
    cache.finish(queued, value("v"), &for_a(MINUTE), now);
    cache.finish(own, value("v"), &for_a(MINUTE), now);
    assert_eq!(fresh(&cache, "k", now).as_deref(), Some("v"));
}

#[tokio::test(start_paused = true)]
async fn another_spelling_never_gets_the_value() {
    let (cache, now) = (Cache::default(), Instant::now());
    cache.finish(begin(&cache, "Key"), value("v"), &for_a(MINUTE), now);
    assert_eq!(fresh(&cache, "key", now), None);
}

#[tokio::test(start_paused = true)]
async fn it_is_bounded_in_number() {
    let cache = Cache::new(CacheLimits { max_entries: 100, ..CacheLimits::default() });
    let now = Instant::now();
    for n in 0..150 {
        let ttl = MINUTE + Duration::from_secs(n);
        cache.finish(begin(&cache, &format!("k{n}")), value("v"), &for_a(ttl), now);
    }
    assert_eq!(cache.usage().entries, 100);
    assert_eq!(fresh(&cache, "k0", now), None, "those nearest to their end went");
    assert_eq!(fresh(&cache, "k149", now).as_deref(), Some("v"));
    cache.touched_all(&store());
    assert_eq!((cache.usage().entries, cache.usage().bytes), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn it_is_bounded_in_bytes_and_keeps_nothing_larger_than_all() {
    let cache = Cache::new(CacheLimits { max_bytes: 10_000, ..CacheLimits::default() });
    let now = Instant::now();
    for n in 0..20 {
        let ttl = MINUTE + Duration::from_secs(n);
        cache.finish(begin(&cache, &format!("k{n}")), value(&"x".repeat(1000)), &for_a(ttl), now);
        assert!(cache.usage().bytes <= 10_000);
    }
    assert!(fresh(&cache, "k0", now).is_none() && fresh(&cache, "k19", now).is_some());
    cache.finish(begin(&cache, "large"), value(&"x".repeat(10_001)), &for_a(MINUTE), now);
    assert!(fresh(&cache, "large", now).is_none());
    assert!(fresh(&cache, "k19", now).is_some(), "and it pushes nothing out");
}

#[tokio::test(start_paused = true)]
async fn what_is_over_is_dropped_at_the_tick() {
    let (cache, now) = (Cache::default(), Instant::now());
    for key in ["k", "other"] {
        cache.finish(begin(&cache, key), value("v"), &for_a(MINUTE), now);
    }
    cache.expire(now + MINUTE / 2);
    assert_eq!(cache.usage().entries, 2);
    cache.expire(now + MINUTE);
    assert_eq!(cache.usage().entries, 0);
    assert!(cache.state().keys.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_write_after_the_tick_still_drops_what_the_tick_has_kept() {
    let (cache, now) = (Cache::default(), Instant::now());
    cache.finish(begin(&cache, "k"), value("v"), &for_a(MINUTE), now);
    cache.expire(now + MINUTE / 2);
    cache.touched(&store(), "k");
    assert_eq!(fresh(&cache, "k", now + MINUTE / 2), None);
}

#[tokio::test(start_paused = true)]
async fn a_load_begun_before_a_change_of_its_store_is_not_kept_and_one_of_another_store_is() {
    let (cache, now, other) = (Cache::default(), Instant::now(), StoreId::from("other"));
    let ours = begin(&cache, "k");
    let Lookup::Miss(theirs) = cache.find(wanted(&other, "k", Join::Any), now) else { panic!("a cold key") };
    cache.touched_all(&store());
    cache.finish(ours, value("old"), &for_a(MINUTE), now);
    cache.finish(theirs, value("v"), &for_a(MINUTE), now);
    assert_eq!(fresh(&cache, "k", now), None);
    assert!(matches!(cache.find(wanted(&other, "k", Join::Any), now), Lookup::Fresh(_)));
}

#[tokio::test(start_paused = true)]
async fn a_value_may_be_served_beyond_its_time_where_the_vault_fails() {
    let (cache, now, store) = (Cache::default(), Instant::now(), store());
    let keep = Keep { max_stale: MINUTE, ..for_a(MINUTE) };
    cache.finish(begin(&cache, "k"), value("v"), &keep, now);
    let later = now + MINUTE * 3 / 2;
    cache.expire(later);
    cache.finish(begin_at(&cache, "k", later), failure(), &keep, later);
    let stale = cache.stale(wanted(&store, "k", Join::Any), later).unwrap();
    assert_eq!(stale.value.as_text(), Some("v"));
    assert!(stale.freshness.is_stale() && stale.freshness.left() < 0);
    assert_eq!(fresh(&cache, "k", later), None, "the next one asks the vault again");
    assert!(cache.stale(wanted(&store, "k", Join::Any), now + MINUTE * 2).is_none(), "within its bound");
}

#[tokio::test(start_paused = true)]
async fn a_stale_value_without_the_exact_type_is_not_served_to_who_wants_it() {
    let (cache, now, store) = (Cache::default(), Instant::now(), store());
    let keep = Keep { max_stale: MINUTE * 60, ..for_a(MINUTE) };
    let exact = WantedValue { detail: true, ..wanted(&store, "k", Join::Any) };
    cache.finish(begin(&cache, "k"), value("rough"), &keep, now);
    let later = now + MINUTE * 2;
    assert!(cache.stale(exact, later).is_none());
    let Lookup::Miss(own) = cache.find(exact, later) else { panic!("its time is over") };
    cache.finish(own, value("exact"), &keep, later);
    let later = later + MINUTE * 2;
    assert_eq!(cache.stale(exact, later).unwrap().value.as_text(), Some("exact"));
    assert!(cache.stale(wanted(&store, "k", Join::Any), later).is_some(), "which will do for all");
}

#[tokio::test(start_paused = true)]
async fn a_stale_value_ends_with_a_write_and_with_the_vaults_word_that_it_is_gone() {
    let (now, store) = (Instant::now(), store());
    let keep = Keep { max_stale: MINUTE * 60, ..for_a(MINUTE) };
    let later = now + MINUTE * 2;
    for gone in [true, false] {
        let cache = Cache::default();
        cache.finish(begin(&cache, "k"), value("v"), &keep, now);
        if gone {
            cache.finish(begin_at(&cache, "k", later), missing(), &keep, later);
        } else {
            cache.touched(&store, "k");
        }
        assert!(cache.stale(wanted(&store, "k", Join::Any), later).is_none(), "{gone}");
    }
}

#[tokio::test(start_paused = true)]
async fn that_there_is_no_such_secret_is_known_for_a_short_time() {
    let (cache, now, store) = (Cache::default(), Instant::now(), store());
    cache.finish(begin(&cache, "k"), missing(), &for_a(MINUTE), now);
    assert!(matches!(find(&cache, "k", now), Lookup::Absent));
    assert!(matches!(find(&cache, "k", now + Keep::NEGATIVE_TTL), Lookup::Miss(_)));
    cache.finish(begin(&cache, "other"), missing(), &for_a(MINUTE), now);
    cache.touched(&store, "other");
    assert!(matches!(find(&cache, "other", now), Lookup::Miss(_)), "a write ends it at once");
    cache.finish(begin(&cache, "third"), missing(), &Keep::default(), now);
    assert!(matches!(find(&cache, "third", now), Lookup::Miss(_)), "without a cache it is not known at all");
}

#[tokio::test(start_paused = true)]
async fn near_its_end_a_value_is_loaded_again_by_one() {
    let (cache, now, store) = (Cache::default(), Instant::now(), store());
    let keep = Keep { refresh_ahead: MINUTE / 4, ..for_a(MINUTE) };
    cache.finish(begin(&cache, "k"), value("old"), &keep, now);
    assert!(!hit(&cache, "k", now + MINUTE / 2).unwrap().refresh);
    let near = now + MINUTE * 4 / 5;
    assert!(hit(&cache, "k", near).unwrap().refresh);
    let ticket = cache.ahead(wanted(&store, "k", Join::Any), near).unwrap();
    assert!(cache.ahead(wanted(&store, "k", Join::Any), near).is_none(), "one load is enough");
    assert_eq!(fresh(&cache, "k", near).as_deref(), Some("old"), "nobody waits for it");
    cache.finish(ticket, value("new"), &keep, near);
    assert_eq!(fresh(&cache, "k", now + MINUTE).as_deref(), Some("new"));
    drop(cache.ahead(wanted(&store, "k", Join::Any), near).unwrap());
    let write = cache.ahead(wanted(&store, "k", Join::Any), near).expect("the one before was given up");
    cache.touched(&store, "k");
    cache.finish(write, value("older than the write"), &keep, near);
    assert_eq!(fresh(&cache, "k", near), None);
}

#[tokio::test(start_paused = true)]
async fn a_value_that_must_be_new_is_loaded_for_its_caller_and_kept_for_the_others() {
    let (cache, now, store) = (Cache::default(), Instant::now(), store());
    cache.finish(begin(&cache, "k"), value("old"), &for_a(MINUTE), now);
    let Lookup::Miss(under_way) =
        cache.find(WantedValue { kept: false, ..wanted(&store, "k", Join::Any) }, now)
    else {
        panic!("no kept value")
    };
    let Lookup::Miss(own) = cache.find(WantedValue { kept: false, ..wanted(&store, "k", Join::Never) }, now)
    else {
        panic!("no load that began before")
    };
    drop(under_way);
    cache.finish(own, value("new"), &for_a(MINUTE), now);
    assert_eq!(fresh(&cache, "k", now).as_deref(), Some("new"));
}

/// The rule of the head of this module, with readers and a writer on threads of their own: no read that begins
/// after a write was acknowledged gives an older value.
#[test]
fn readers_on_other_threads_never_see_a_value_older_than_an_acknowledged_write() {
    use std::sync::atomic::AtomicBool;
    let (cache, vault, acknowledged) = (Cache::default(), AtomicU64::new(0), AtomicU64::new(0));
    let (reads, over) = (AtomicU64::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !over.load(Ordering::SeqCst) {
                    let floor = acknowledged.load(Ordering::SeqCst);
                    let seen = match find(&cache, "k", Instant::now()) {
                        Lookup::Fresh(hit) => hit.value.as_text().unwrap().parse::<u64>().unwrap(),
                        Lookup::Miss(ticket) => {
                            let now = vault.load(Ordering::SeqCst);
                            cache.finish(ticket, value(&now.to_string()), &for_a(MINUTE), Instant::now());
                            now
                        }
                        Lookup::Absent | Lookup::Loading(..) => continue,
                    };
                    reads.fetch_add(1, Ordering::Relaxed);
                    assert!(seen >= floor, "read {seen} after {floor} was acknowledged");
                }
            });
        }
        let mut written = 0;
        while written < 3000 || reads.load(Ordering::Relaxed) < 3000 {
            written += 1;
            vault.store(written, Ordering::SeqCst);
            cache.touched(&store(), "k");
            acknowledged.store(written, Ordering::SeqCst);
            std::thread::yield_now();
        }
        over.store(true, Ordering::SeqCst);
    });
}

#[tokio::test(start_paused = true)]
async fn it_may_be_filled_to_its_last_byte_and_may_keep_nothing_at_all() {
    let now = Instant::now();
    let filled = |limits: CacheLimits, keys: &[&str]| {
        let cache = Cache::new(limits);
        for key in keys {
            cache.finish(begin(&cache, key), value("v"), &for_a(MINUTE), now);
        }
        cache.usage()
    };
    let one = filled(CacheLimits::default(), &["a"]).bytes;
    for (max_bytes, keys, entries) in [
        (one, &["a"] as &[_], 1),
        (one - 1, &["a"], 0),
        (one * 2, &["a", "b"], 2),
        (one * 2 - 1, &["a", "b"], 1),
    ] {
        let usage = filled(CacheLimits { max_bytes, ..CacheLimits::default() }, keys);
        assert_eq!((usage.entries, usage.bytes), (entries, entries * one), "{max_bytes} of {one} each");
    }
    assert_eq!(filled(CacheLimits { max_entries: 0, ..CacheLimits::default() }, &["a"]).entries, 0);
}

#[test]
fn what_is_left_of_a_values_time_is_in_whole_seconds_and_below_nothing_once_it_is_over() {
    let second = Duration::from_secs(1);
    let bound = second * 20;
    for (age, kept, left) in [
        (second * 5, true, 15),
        (bound - second / 2, true, 0),
        (bound, true, -1),
        (bound + second / 2, true, -1),
        (bound + second * 5, true, -6),
        // It was not kept, but read for this answer.
        (bound + second, false, 0),
    ] {
        assert_eq!(Freshness { age, bound, kept }.left(), left, "{age:?}, {kept}");
    }
}
