//! Maintenance windows: when they are open, told from a given time. No clock is read here.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;

/// Saturating, so that a nonsense timestamp in an edited status cannot make a panic.
pub fn later(from: Timestamp, by: Duration) -> Timestamp {
    jiff::SignedDuration::try_from(by).ok().and_then(|by| from.checked_add(by).ok()).unwrap_or(Timestamp::MAX)
}

/// A window that opens by a cron schedule in a time zone, and stays open for a while.
#[derive(Debug, Clone)]
pub struct Window {
    crontab: Arc<cronexpr::Crontab>,
    text: String,
    duration: Duration,
}

impl Window {
    /// `schedule`: five fields of cron. `zone`: an IANA name such as `Europe/Paris`.
    ///
    /// # Errors
    /// What is wrong with schedule or zone, for a person.
    pub fn new(schedule: &str, zone: &str, duration: Duration) -> Result<Self, String> {
        let text = format!("{} {zone}", schedule.trim());
        if schedule.split_whitespace().count() != 5 {
            return Err(format!(
                "{schedule:?} is not five fields of cron (minute hour day month weekday), e.g. \"0 2 * * SAT\""
            ));
        }
        if jiff::tz::TimeZone::get(zone).is_err() {
            return Err(format!("{zone:?} is no time zone; write an IANA name such as Europe/Paris or UTC"));
        }
        // The error of the library draws over several lines; its last one says what is wrong.
        let crontab = cronexpr::parse_crontab(&text).map_err(|error| {
            let why = error.to_string();
            format!("{schedule:?} is not a cron schedule: {}", why.lines().last().unwrap_or_default().trim())
        })?;
        Ok(Self { crontab: Arc::new(crontab), text, duration })
    }

    /// None: not open at this time. Else when it closes.
    pub fn open_until(&self, now: Timestamp) -> Option<Timestamp> {
        let earliest = now.checked_sub(jiff::SignedDuration::try_from(self.duration).ok()?).ok()?;
        // Openings overlap when the schedule is denser than the duration: the last one that has begun closes last.
        let mut opened = self.next(earliest)?;
        if opened > now {
            return None;
        }
        while let Some(later) = self.next(opened).filter(|later| *later <= now) {
            opened = later;
        }
        Some(later(opened, self.duration))
    }

    /// The next time after `now` at which it opens. None: never within four years.
    pub fn next(&self, now: Timestamp) -> Option<Timestamp> {
        self.crontab.find_next(now).ok().map(|zoned| zoned.timestamp())
    }
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
    fn a_window_opens_and_closes_in_its_own_zone() {
        let night = Window::new("0 2 * * SAT", "Europe/Paris", Duration::from_secs(4 * 3600)).unwrap();
        // 2026-11-28 is a Saturday; Paris is at UTC+1 then.
        assert_eq!(night.open_until(at("2026-11-28T00:59:59Z")), None);
        assert_eq!(night.open_until(at("2026-11-28T01:00:00Z")), Some(at("2026-11-28T05:00:00Z")));
        assert_eq!(night.open_until(at("2026-11-28T04:59:59Z")), Some(at("2026-11-28T05:00:00Z")));
        assert_eq!(night.open_until(at("2026-11-28T05:00:01Z")), None);
        assert_eq!(night.next(at("2026-11-28T01:00:00Z")), Some(at("2026-12-05T01:00:00Z")));
    }

    #[test]
    fn the_clock_that_jumps_forward_and_back_loses_no_window() {
        let night = Window::new("30 2 * * *", "Europe/Paris", Duration::from_secs(3600)).unwrap();
        // There is no 02:30 on 2027-03-28, and two of them on 2026-10-25.
        assert!(night.next(at("2027-03-27T12:00:00Z")).is_some_and(|at_| at_ < at("2027-03-29T03:00:00Z")));
        assert_eq!(night.next(at("2026-10-24T12:00:00Z")), Some(at("2026-10-25T00:30:00Z")));
    }

    #[test]
    fn openings_that_overlap_are_one_window() {
        let dense = Window::new("*/10 * * * *", "UTC", Duration::from_secs(1800)).unwrap();
        assert_eq!(dense.open_until(at("2026-11-24T12:05:00Z")), Some(at("2026-11-24T12:30:00Z")));
    }

    #[test]
    fn nonsense_is_refused_with_the_way_out() {
        for (schedule, zone, word) in [
            ("0 2 * *", "UTC", "five fields"),
            ("0 25 * * *", "UTC", "cron schedule"),
            ("0 2 * * SAT", "Mars/Olympus", "time zone"),
            ("0 2 * * SAT", "", "time zone"),
        ] {
            let error = Window::new(schedule, zone, Duration::from_secs(60)).unwrap_err();
            assert!(error.contains(word), "{error}");
            assert_eq!(error.lines().count(), 1, "{error}");
        }
    }
}
