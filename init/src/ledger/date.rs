//! A moment as people write it, in UTC: a head has no time zone.

/// `2026-09-21 14:13:20.000`, from milliseconds since 1970.
pub fn text(ms: u64) -> String {
    let (seconds, ms) = (ms / 1000, ms % 1000);
    let (days, seconds) = (seconds / 86_400, seconds % 86_400);
    let (year, month, day) = civil(days);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}.{ms:03}")
}

/// The day with this number since 1970-01-01, in the Gregorian calendar.
fn civil(mut days: u64) -> (u64, u64, u64) {
    let is_leap = |year: u64| {
        year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
    };
    // 400 years repeat exactly.
    let mut year = 1970 + 400 * (days / 146_097);
    days %= 146_097;
    loop {
        let length = if is_leap(year) { 366 } else { 365 };
        if days < length {
            break;
        }
        days -= length;
        year += 1;
    }
    let february = if is_leap(year) { 29 } else { 28 };
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    (year, month, days + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_those_of_the_calendar() {
        assert_eq!(text(0), "1970-01-01 00:00:00.000");
        assert_eq!(text(951_782_400_000), "2000-02-29 00:00:00.000");
        assert_eq!(text(1_709_251_199_999), "2024-02-29 23:59:59.999");
        assert_eq!(text(1_790_000_000_000), "2026-09-21 14:13:20.000");
        assert_eq!(text(4_107_542_400_000), "2100-03-01 00:00:00.000");
        // No number is too large to be shown.
        assert!(text(u64::MAX).ends_with(".615"));
    }
}
