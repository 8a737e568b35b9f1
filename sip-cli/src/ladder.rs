//! A call as a ladder: a column for each party, an arrow for each message, time running down.

use std::fmt::Write as _;
use std::time::Duration;

/// Between two columns, at least: shorter arrows look cramped.
const LEAST_WIDTH: usize = 20;
/// Around a label: its spaces, the arrow head and some line on either side.
const AROUND_LABEL: usize = 8;
/// Before the first column: the time.
const TIME_WIDTH: usize = 10;

/// How an arrow is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// A message: `--->`.
    Message,
    /// Media, one way: `===>`.
    Media,
    /// Media, both ways: `<===>`.
    MediaBothWays,
}

/// One arrow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Arrow {
    /// Since the beginning.
    pub(crate) at: Duration,
    /// The column it starts from.
    pub(crate) from: usize,
    /// The column it leads to.
    pub(crate) to: usize,
    /// What it says.
    pub(crate) label: String,
    /// How it looks.
    pub(crate) line: Line,
}

/// Draws arrows between columns, in the order of their times. Arrows to or from no column, or to their own, are
/// left out.
///
/// ```text
///      time  alice                server
///     0.000    |--- REGISTER 1 ----->|
///     0.002    |<-- 401 REGISTER 1 --|
/// ```
pub(crate) fn draw(columns: &[&str], arrows: &[Arrow]) -> String {
    let mut arrows: Vec<&Arrow> = arrows
        .iter()
        .filter(|arrow| arrow.from != arrow.to && arrow.from.max(arrow.to) < columns.len())
        .collect();
    arrows.sort_by_key(|arrow| arrow.at);
    let width = width_for(columns, &arrows);

    let mut text = format!("{:>TIME_WIDTH$}  ", "time");
    let mut heading = String::new();
    for (index, name) in columns.iter().enumerate() {
        // Each name is centred on its line, the first as far as there is room.
        let centre = index * width + 2;
        let start = centre.saturating_sub(name.chars().count() / 2);
        let missing = start.saturating_sub(heading.chars().count());
        heading.extend(std::iter::repeat_n(' ', missing));
        heading.push_str(name);
    }
    text.push_str(&heading);
    text.push('\n');
    for arrow in arrows {
        let (left, right) = (arrow.from.min(arrow.to), arrow.from.max(arrow.to));
        let mut row = String::new();
        for index in 0..columns.len() {
            row.push('|');
            if index == left {
                row.push_str(&shaft(arrow, (right - left) * width - 1));
            } else if index + 1 < columns.len() && !(left..right).contains(&index) {
                row.extend(std::iter::repeat_n(' ', width - 1));
            }
            // The lines that an arrow crosses are under it.
            if (left + 1..right).contains(&index) {
                row.pop();
            }
        }
        let _ = writeln!(text, "{:>TIME_WIDTH$.3}    {row}", arrow.at.as_secs_f64());
    }
    text
}

/// The distance between columns in which every label and every name finds room.
fn width_for(columns: &[&str], arrows: &[&Arrow]) -> usize {
    let length = |name: &str| name.chars().count();
    let names = columns.windows(2).enumerate().map(|(index, pair)| match pair {
        // The first name starts at the margin, the others are centred.
        [left, right] if index == 0 => length(left) + length(right).div_ceil(2),
        [left, right] => (length(left) + length(right)).div_ceil(2) + 2,
        _ => 0,
    });
    arrows
        .iter()
        .map(|arrow| (arrow.label.chars().count() + AROUND_LABEL).div_ceil(arrow.from.abs_diff(arrow.to)))
        .chain(names)
        .fold(LEAST_WIDTH, usize::max)
}

/// The arrow between two lines, `length` characters.
fn shaft(arrow: &Arrow, length: usize) -> String {
    let (stroke, head_left, head_right) = match arrow.line {
        Line::Message => ('-', arrow.to < arrow.from, arrow.from < arrow.to),
        Line::Media => ('=', arrow.to < arrow.from, arrow.from < arrow.to),
        Line::MediaBothWays => ('=', true, true),
    };
    let label = format!(" {} ", arrow.label);
    let strokes = length.saturating_sub(label.chars().count());
    let mut left: String = std::iter::repeat_n(stroke, strokes / 2).collect();
    let mut right: String = std::iter::repeat_n(stroke, strokes - strokes / 2).collect();
    if head_left {
        left.replace_range(..left.len().min(1), "<");
    }
    if head_right {
        right.pop();
        right.push('>');
    }
    format!("{left}{label}{right}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrow(milliseconds: u64, from: usize, to: usize, label: &str) -> Arrow {
        Arrow { at: Duration::from_millis(milliseconds), from, to, label: label.into(), line: Line::Message }
    }

    #[test]
    fn a_call_through_a_proxy() {
        let arrows = [
            arrow(0, 0, 1, "INVITE 1 sdp"),
            arrow(1, 1, 0, "100 INVITE 1"),
            arrow(2, 1, 2, "INVITE 1 sdp"),
            arrow(31, 2, 1, "200 INVITE 1 sdp"),
            Arrow { line: Line::MediaBothWays, ..arrow(1500, 0, 2, "RTP") },
            Arrow { line: Line::Media, ..arrow(1600, 2, 0, "RTP") },
            arrow(12_045, 0, 2, "BYE 2"),
            arrow(5, 2, 1, "180 INVITE 1"),
            arrow(12_050, 2, 0, "200 BYE 2"),
        ];
        let text = draw(&["alice", "server", "bob"], &arrows);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(
            lines,
            [
                "      time  alice                  server                    bob",
                "     0.000    |---- INVITE 1 sdp ---->|                       |",
                "     0.001    |<--- 100 INVITE 1 -----|                       |",
                "     0.002    |                       |---- INVITE 1 sdp ---->|",
                "     0.005    |                       |<--- 180 INVITE 1 -----|",
                "     0.031    |                       |<- 200 INVITE 1 sdp ---|",
                "     1.500    |<==================== RTP ====================>|",
                "     1.600    |<==================== RTP =====================|",
                "    12.045    |-------------------- BYE 2 ------------------->|",
                "    12.050    |<----------------- 200 BYE 2 ------------------|",
            ]
        );
    }

    #[test]
    fn rows_are_as_long_as_the_heading_demands_and_labels_are_whole() {
        let long = "a label longer than any message of SIP would ever have";
        let text = draw(&["one", "two"], &[arrow(0, 0, 1, long), arrow(1, 1, 0, "x")]);
        assert!(text.contains(long));
        let rows: Vec<usize> = text.lines().skip(1).map(|line| line.chars().count()).collect();
        assert_eq!(rows[0], rows[1]);
    }

    #[test]
    fn long_names_keep_apart() {
        let names = ["192.0.2.100:50600", "198.51.100.200:5060", "[2001:db8::1234]:5060"];
        let text = draw(&names, &[arrow(0, 0, 1, "BYE 1")]);
        let heading: Vec<&str> = text.lines().next().unwrap().split_whitespace().collect();
        assert_eq!(heading[1..], names);
    }

    #[test]
    fn arrows_that_lead_nowhere_are_left_out() {
        assert_eq!(draw(&["one", "two"], &[arrow(0, 0, 0, "a"), arrow(0, 0, 7, "b")]).lines().count(), 1);
    }
}
