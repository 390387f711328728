//! Maintenance windows, evaluated for a given time. The module reads no clock.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;

use crate::model::later;

/// A window that opens by a cron schedule in a time zone and stays open for a duration.
#[derive(Debug, Clone)]
pub struct Window {
    crontab: Arc<cronexpr::Crontab>,
    known: Arc<KnownOpening>,
    text: String,
    duration: Duration,
}

/// The first two openings may be apart by two years, because a search goes through the days one by one. A day without the hour
/// of the schedule, at the change to summer time, has no opening.
const LONGEST_PAUSE: Duration = Duration::from_secs(732 * 24 * 3600);
/// The begin of the search: a fixed one, so that a schedule is valid or not whatever the time is.
const FIRST_SEARCH: Timestamp = Timestamp::constant(1_704_067_200, 0);

/// Why a window cannot be used. The messages leave the value to the caller, which names the field too.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WindowError {
    #[error(
        "The schedule cannot be read: {cause}. To fix: write minute, hour, day, month and weekday, e.g. 0 2 * * SAT."
    )]
    Schedule { cause: String },

    #[error(
        "The schedule does not open at least every two years. To fix: write days that exist in every year, e.g. 0 2 * * SAT."
    )]
    Rare,

    #[error("This time zone does not exist. To fix: write an IANA name such as Europe/Paris, or UTC.")]
    Zone,
}

impl Window {
    /// `schedule`: the five fields of cron. `zone`: an IANA name such as `Europe/Paris`.
    ///
    /// # Errors
    /// The problem with schedule or zone, and its fix, for the administrator.
    pub fn new(schedule: &str, zone: &str, duration: Duration) -> Result<Self, WindowError> {
        let text = format!("{} {zone}", schedule.trim());
        if jiff::tz::TimeZone::get(zone).is_err() {
            return Err(WindowError::Zone);
        }
        // Without five fields the library would read a field as the time zone.
        if schedule.split_whitespace().count() != 5 {
            return Err(WindowError::Schedule { cause: "it has not five fields".to_owned() });
        }
        // The error of the library has several lines. Only the last line contains the cause.
        let crontab = cronexpr::parse_crontab(&text).map_err(|error| {
            let report = error.to_string();
            let cause = report.lines().last().unwrap_or_default().trim().trim_end_matches('.');
            WindowError::Schedule { cause: cause.trim_start_matches("^ ").to_owned() }
        })?;
        let window = Self { crontab: Arc::new(crontab), known: Arc::default(), text, duration };
        let opens_again =
            |from: Timestamp| window.search(from).filter(|opening| *opening <= later(from, LONGEST_PAUSE));
        match opens_again(FIRST_SEARCH).and_then(opens_again) {
            Some(_) => Ok(window),
            None => Err(WindowError::Rare),
        }
    }

    /// The end of the window that is open at `now`. None: no window is open.
    pub fn open_until(&self, now: Timestamp) -> Option<Timestamp> {
        let earliest = now.checked_sub(jiff::SignedDuration::try_from(self.duration).ok()?).ok()?;
        // Openings overlap if the interval of the schedule is shorter than the duration. The last opening closes last.
        last_opening(earliest, now, |from| self.next(from)).map(|opened| later(opened, self.duration))
    }

    /// The next opening after `now`. None: no opening within four years.
    pub fn next(&self, now: Timestamp) -> Option<Timestamp> {
        self.known.next(now, |from| self.search(from))
    }

    fn search(&self, from: Timestamp) -> Option<Timestamp> {
        self.crontab.find_next(from).ok().map(|zoned| zoned.timestamp())
    }
}

/// The begin of the last search, the end of the time for which it answers, and its result. A plan asks for each of its types.
#[derive(Debug, Default)]
struct KnownOpening(Mutex<Option<(Timestamp, Timestamp, Option<Timestamp>)>>);

/// How long a search without a result answers.
const NO_OPENING: Duration = Duration::from_secs(24 * 3600);

impl KnownOpening {
    fn next(&self, now: Timestamp, search: impl FnOnce(Timestamp) -> Option<Timestamp>) -> Option<Timestamp> {
        let mut known = self.0.lock();
        if let Some((from, end, opening)) = *known
            && from <= now
            && now < end
        {
            return opening;
        }
        let opening = search(now);
        *known = Some((now, opening.unwrap_or_else(|| later(now, NO_OPENING)), opening));
        opening
    }
}

/// The last opening after `earliest` and not after `now`. Each step halves the time in question, because a schedule can open
/// every minute of a long window.
fn last_opening(
    earliest: Timestamp,
    now: Timestamp,
    mut next: impl FnMut(Timestamp) -> Option<Timestamp>,
) -> Option<Timestamp> {
    let mut until_now = |from| next(from).filter(|opening| *opening <= now);
    let mut opened = until_now(earliest)?;
    let mut end = now.as_second();
    while opened.as_second() < end {
        let middle = opened.as_second().midpoint(end);
        match until_now(Timestamp::from_second(middle).ok()?) {
            Some(later) => opened = later,
            None => end = middle,
        }
    }
    Some(opened)
}

impl PartialEq for Window {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text && self.duration == other.duration
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn open_until_in_a_time_zone_follows_the_local_time() {
        let window = Window::new("0 2 * * SAT", "Europe/Paris", Duration::from_secs(4 * 3600)).unwrap();
        // 2026-11-28 is a Saturday; Paris is at UTC+1 then.
        assert_eq!(window.open_until(at("2026-11-28T00:59:59Z")), None);
        assert_eq!(window.open_until(at("2026-11-28T01:00:00Z")), Some(at("2026-11-28T05:00:00Z")));
        assert_eq!(window.open_until(at("2026-11-28T04:59:59Z")), Some(at("2026-11-28T05:00:00Z")));
        assert_eq!(window.open_until(at("2026-11-28T05:00:01Z")), None);
        assert_eq!(window.next(at("2026-11-28T01:00:00Z")), Some(at("2026-12-05T01:00:00Z")));
    }

    #[test]
    fn next_across_a_daylight_saving_change_skips_no_day() {
        let window = Window::new("30 2 * * *", "Europe/Paris", Duration::from_secs(3600)).unwrap();
        // There is no 02:30 on 2027-03-28, and two of them on 2026-10-25.
        assert!(window.next(at("2027-03-27T12:00:00Z")).is_some_and(|opening| opening < at("2027-03-29T03:00:00Z")));
        assert_eq!(window.next(at("2026-10-24T12:00:00Z")), Some(at("2026-10-25T00:30:00Z")));
    }

    #[test]
    fn open_until_with_overlapping_openings_returns_the_last_end() {
        let dense = Window::new("*/10 * * * *", "UTC", Duration::from_secs(1800)).unwrap();
        assert_eq!(dense.open_until(at("2026-11-24T12:05:00Z")), Some(at("2026-11-24T12:30:00Z")));
    }

    #[test]
    fn last_opening_of_a_week_of_minutes_takes_few_steps() {
        let (now, week) = (at("2026-11-24T12:05:30.5Z"), Duration::from_secs(7 * 24 * 3600));
        let earliest = now.checked_sub(jiff::SignedDuration::try_from(week).unwrap()).unwrap();
        for (schedule, expected) in [
            ("* * * * *", Some("2026-11-24T12:05:00Z")),
            ("6 12 * * *", Some("2026-11-23T12:06:00Z")),
            ("5 12 17 11 *", None),
            ("6 12 17 11 *", Some("2026-11-17T12:06:00Z")),
            ("0 0 1 1 *", None),
        ] {
            let window = Window::new(schedule, "UTC", week).unwrap();
            let mut steps = 0;
            let opened = last_opening(earliest, now, |from| {
                steps += 1;
                window.next(from)
            });
            assert_eq!(opened, expected.map(at), "{schedule}");
            assert!(steps <= 22, "{steps} steps for {schedule}");
            assert_eq!(window.open_until(now), opened.map(|opened| later(opened, week)), "{schedule}");
        }
    }

    #[test]
    fn next_between_a_search_and_its_result_searches_no_more() {
        let (known, day) = (KnownOpening::default(), Window::new("0 2 * * *", "UTC", Duration::from_secs(60)).unwrap());
        let mut searches = 0;
        for (now, expected, total) in [
            ("2026-11-24T12:00:00Z", "2026-11-25T02:00:00Z", 1),
            ("2026-11-25T01:59:59.9Z", "2026-11-25T02:00:00Z", 1),
            ("2026-11-25T02:00:00Z", "2026-11-26T02:00:00Z", 2),
            ("2026-11-24T11:00:00Z", "2026-11-25T02:00:00Z", 3),
        ] {
            let next = known.next(at(now), |from| {
                searches += 1;
                day.search(from)
            });
            assert_eq!((next, searches), (Some(at(expected)), total), "{now}");
        }
    }

    #[test]
    fn next_without_an_opening_searches_once_a_day() {
        let (known, mut searches) = (KnownOpening::default(), 0);
        for (now, total) in [
            ("2026-11-24T12:00:00Z", 1),
            ("2026-11-25T11:59:59Z", 1),
            ("2026-11-25T12:00:00Z", 2),
            ("2026-11-01T00:00:00Z", 3),
        ] {
            let next = known.next(at(now), |_| {
                searches += 1;
                None
            });
            assert_eq!((next, searches), (None, total), "{now}");
        }
    }

    #[test]
    fn new_with_a_schedule_that_opens_seldom_is_refused() {
        for schedule in ["0 0 31 2,4,6,9,11 *", "0 0 30 2 *", "0 0 29 2 *", "0 0 */30 2 FRI"] {
            let refused = Window::new(schedule, "UTC", Duration::from_secs(60)).unwrap_err();
            assert_eq!(refused, WindowError::Rare, "{schedule}");
        }
        for (schedule, zone) in [
            ("0 0 1 1 *", "Asia/Kathmandu"),
            ("59 23 31 12 *", "Asia/Kathmandu"),
            ("0 2 * * SAT", "UTC"),
            // The offset changed in 2024, so that more than a year is between two openings.
            ("0 2 15 1 *", "America/Scoresbysund"),
            ("0 2 15 1 *", "Asia/Almaty"),
            // These days of 2024 have no such hour.
            ("0 2 31 3 *", "Europe/Paris"),
            ("0 2 10 3 *", "America/New_York"),
        ] {
            assert!(Window::new(schedule, zone, Duration::from_secs(60)).is_ok(), "{schedule} {zone}");
        }
    }

    #[test]
    fn windows_are_equal_if_schedule_zone_and_duration_are() {
        let window = |schedule, zone, seconds| Window::new(schedule, zone, Duration::from_secs(seconds)).unwrap();
        let saturday = window("0 2 * * SAT", "UTC", 60);
        assert_eq!(saturday, window(" 0 2 * * SAT", "UTC", 60));
        assert_ne!(saturday, window("0 3 * * SAT", "UTC", 60));
        assert_ne!(saturday, window("0 2 * * SAT", "Europe/Paris", 60));
        assert_ne!(saturday, window("0 2 * * SAT", "UTC", 61));
        assert_eq!(saturday.to_string(), "0 2 * * SAT UTC");
    }

    #[test]
    fn new_with_an_invalid_schedule_or_zone_names_the_problem() {
        for (schedule, zone, word) in [
            ("0 2 * *", "UTC", "five fields"),
            ("0 5-3 * * *", "UTC", "schedule cannot be read"),
            ("0 2 * * SAT", "Mars/Olympus", "time zone"),
            ("0 2 * * SAT", "", "time zone"),
        ] {
            let error = Window::new(schedule, zone, Duration::from_secs(60)).unwrap_err().to_string();
            assert!(error.contains(word) && error.contains("To fix: "), "{error}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }
}
