use super::*;
use crate::limits::HEADER_JSON_MAX;

const SECOND: u64 = 1_000_000_000;

fn key(number: u64) -> ClientKey {
    ClientKey::from_u64(number)
}

fn two() -> (Headers, ClientKey, ClientKey) {
    let mut headers = Headers::default();
    headers.begin(key(1), 0);
    headers.begin(key(2), 5 * SECOND);
    (headers, key(1), key(2))
}

/// The client has written, was read, and holds that much.
fn writes(headers: &mut Headers, key: ClientKey, now_ns: u64, held: usize) {
    headers.readable(key, now_ns);
    assert_eq!(headers.grant(), Some(key), "there is room");
    headers.came(key, now_ns, held);
}

fn all_stalled(headers: &mut Headers, now_ns: u64) -> Vec<ClientKey> {
    let mut stalled = Vec::new();
    while let Some(key) = headers.stalled(now_ns) {
        headers.over(key);
        stalled.push(key);
    }
    stalled
}

#[test]
fn each_has_its_time() {
    let (mut headers, first, second) = two();
    let mut late = |now| headers.late(now, true);
    assert!(late(29 * SECOND - 1).is_empty());
    assert!(late(29 * SECOND).is_empty());
    assert!(late(30 * SECOND - 1).is_empty());
    assert_eq!(late(30 * SECOND), [first]);
    assert!(late(34 * SECOND).is_empty());
    assert_eq!(late(35 * SECOND), [second]);
    assert_eq!(headers.next_ns(true), None);
}

/// However late it is: they may have written meanwhile.
#[test]
fn nobody_is_late_without_a_last_look() {
    let (mut headers, first, second) = two();
    let now = 100 * SECOND;
    assert!(headers.late(now, true).is_empty());
    assert_eq!(headers.next_ns(true), Some(now + SECOND));
    assert_eq!(headers.keys(), [first, second]);
    headers.over(first);
    assert_eq!(headers.late(now + SECOND, true), [second]);
}

#[test]
fn no_time_passes_while_nothing_may_be_read() {
    let (mut headers, first, second) = two();
    assert!(headers.late(29 * SECOND, true).is_empty());
    // One is at its last look by now.
    let now = 50 * SECOND;
    assert!(headers.late(now, false).is_empty());
    assert_eq!(headers.next_ns(true), Some(now + 29 * SECOND));
    assert!(headers.late(now + 29 * SECOND, true).is_empty());
    let late = headers.late(now + 30 * SECOND, true);
    assert_eq!(late, [first, second]);
}

#[test]
fn no_time_passes_for_who_waits_for_us() {
    let (mut headers, first, second) = two();
    headers.readable(first, 10 * SECOND);
    assert_eq!(
        headers.next_ns(true),
        Some(34 * SECOND),
        "of the second alone"
    );
    assert!(headers.late(34 * SECOND, true).is_empty());
    assert_eq!(headers.late(35 * SECOND, true), [second]);
    assert_eq!(headers.grant(), Some(first));
    headers.came(first, 1000 * SECOND, 64);
    // 19 s were left, and the last look.
    assert!(headers.late(1019 * SECOND, true).is_empty());
    assert_eq!(headers.late(1020 * SECOND, true), [first]);
}

/// We are stopped before the last look, and again while it lasts.
#[test]
fn a_look_whose_end_we_did_not_see_was_none() {
    let (mut headers, first, _) = two();
    assert!(headers.late(32 * SECOND, true).is_empty());
    assert!(headers.late(40 * SECOND, true).is_empty());
    assert_eq!(headers.next_ns(true), Some(41 * SECOND));
    assert!(headers.late(41 * SECOND, true).contains(&first));
}

#[test]
fn who_is_finished_is_forgotten() {
    let (mut headers, first, second) = two();
    writes(&mut headers, first, SECOND, 1000);
    headers.readable(first, SECOND);
    assert_eq!(headers.grant(), Some(first));
    headers.over(first);
    headers.readable(second, 6 * SECOND);
    headers.over(second);
    headers.over(second);
    assert_eq!(headers.grant(), None, "what is over has no turn");
    let counts = [
        headers.held,
        headers.due.len(),
        headers.idle.len(),
        headers.queued,
        headers.queue.len(),
        headers.clients.len(),
    ];
    assert_eq!(counts, [0; 6]);
    assert_eq!((headers.next_ns(true), headers.has_queue()), (None, false));
}

/// Two hundred who write large headers at once, all as fast as they are read:
/// each is complete in the end, none is refused, and they keep to what all may
/// hold.
#[test]
fn large_ones_at_once_are_all_read() {
    let mut headers = Headers::default();
    let mut left: Vec<_> = (0..200).map(|_| 800_000_usize).collect();
    let mut held = vec![0_usize; left.len()];
    for (number, _) in left.iter().enumerate() {
        headers.begin(key(number as u64), 0);
        headers.readable(key(number as u64), 0);
    }
    let mut now = 0;
    while let Some(granted) = headers.grant() {
        now += 1_000_000;
        assert!(headers.held <= HEADERS_BUFFERED_MAX, "{}", headers.held);
        let number = granted.to_u64() as usize;
        let read = left[number].min(READ_BUFFER_SIZE);
        left[number] -= read;
        held[number] += read;
        assert!(held[number] <= HEADER_JSON_MAX);
        if left[number] == 0 {
            headers.over(granted);
        } else {
            headers.came(granted, now, held[number]);
            headers.readable(granted, now);
        }
        assert_eq!(headers.stalled(now), None);
    }
    assert_eq!(left.iter().sum::<usize>(), 0);
    assert!(headers.clients.is_empty());
}

/// Who takes room and does not write is refused, but only when somebody waits for
/// it, and not before a last look.
#[test]
fn who_stalls_makes_room_for_who_waits() {
    let mut headers = Headers::default();
    let mut fill = Vec::new();
    for number in 0.. {
        headers.begin(key(number), 0);
        headers.readable(key(number), 0);
        match headers.grant() {
            Some(granted) => headers.came(granted, 0, 15_000),
            None => break,
        }
        fill.push(key(number));
    }
    // The last of them may use what is kept for one, and does not write either.
    let waits = key(fill.len() as u64);
    assert!(fill.len() > 300 && headers.favoured == fill.last().copied());
    writes(&mut headers, *fill.last().unwrap(), SECOND / 2, 15_001);
    assert_eq!(headers.stalled(SECOND - 1), None);
    assert_eq!(headers.next_ns(true), Some(SECOND));
    assert_eq!(headers.stalled(SECOND), None, "it may have written");
    assert_eq!(headers.next_ns(true), Some(SECOND + SECOND / 10));
    // One of them has.
    headers.readable(fill[0], SECOND);
    let stalled = all_stalled(&mut headers, SECOND + SECOND / 10);
    assert_eq!(stalled, fill[1..fill.len() - 1]);
    assert_eq!(headers.grant(), Some(waits));
    assert_eq!(headers.grant(), Some(fill[0]));
    assert_eq!(headers.grant(), None);
    assert!(!headers.has_queue());
    assert_eq!(all_stalled(&mut headers, 20 * SECOND), [], "nobody waits");
}
