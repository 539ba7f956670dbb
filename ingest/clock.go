package ingest

import (
	"bytes"
	"time"
)

// parseTime reads a timestamp at the start of b, in any of the forms that proxies, agents and log viewers print:
// `2026-11-22 14:50:09.970`, `2026-11-22T14:50:09.970123Z`, `…+02:00`, `… +0000 UTC`, `2026/11/22 14:50:09`. The fraction may have any
// number of digits after `.` or `,`; those beyond the ninth are dropped. zoned is false when no zone was named, and then UTC is
// assumed; n is how many bytes were read.
//
// It is written by hand because it runs on every candidate line: time.Parse needs the layout first and ten times as long.
func parseTime(b []byte) (t time.Time, zoned bool, n int, ok bool) {
	if len(b) < 19 || b[0] < '0' || b[0] > '9' {
		return
	}
	sep := b[4]
	if '0' <= sep && sep <= '9' {
		return parseCompact(b)
	}
	if (sep != '-' && sep != '/') || b[7] != sep || (b[10] != ' ' && b[10] != 'T' && b[10] != '_') {
		return
	}
	y, m, d := digits(b[0:4]), digits(b[5:7]), digits(b[8:10])
	secs, ok := parseClock(b[11:])
	if !ok || y < 0 || m < 1 || m > 12 || d < 1 || d > daysIn(y, m) {
		return t, false, 0, false
	}
	ns, k := parseFraction(b[19:])
	off, z := parseZone(b[19+k:])
	sec := daysFromCivil(y, m, d)*86400 + int64(secs-off)
	return time.Unix(sec, int64(ns)).UTC(), z > 0, 19 + k + z, true
}

// parseCompact reads `20261122 14:50:09.970` and `20261122T14:50:09Z`.
func parseCompact(b []byte) (t time.Time, zoned bool, n int, ok bool) {
	y, m, d := digits(b[0:4]), digits(b[4:6]), digits(b[6:8])
	secs, ok := parseClock(b[9:])
	if !ok || b[8] != ' ' && b[8] != 'T' || y < 1970 || m < 1 || m > 12 || d < 1 || d > daysIn(y, m) {
		return t, false, 0, false
	}
	ns, k := parseFraction(b[17:])
	off, z := parseZone(b[17+k:])
	return time.Unix(daysFromCivil(y, m, d)*86400+int64(secs-off), int64(ns)).UTC(), z > 0, 17 + k + z, true
}

// parseAnyTime reads what stands for a time in a format that somebody made up: any of the forms above, `Sun Nov 22 14:50:09 2026`, and seconds
// with a fraction or milliseconds since 1970.
func parseAnyTime(b []byte) (t time.Time, zoned bool, n int, ok bool) {
	if t, zoned, n, ok = parseTime(b); ok {
		return t, zoned, n, true
	}
	if t, zoned, n, ok = parseCommonTime(b); ok {
		return t, zoned, n, true
	}
	if len(b) > 24 && b[3] == ' ' && b[19] == ' ' {
		if at, k, ok := parseYearless(b[4:]); ok && parseMonth(b[4:]) > 0 && k == 15 {
			if y := digits(b[20:24]); y >= 1970 {
				return time.Date(y, at.Month(), at.Day(), at.Hour(), at.Minute(), at.Second(), 0, time.UTC), false, 24, true
			}
		}
	}
	for n < len(b) && n < 22 && ('0' <= b[n] && b[n] <= '9' || b[n] == '.' && n == 10) {
		n++
	}
	if n < 13 || n >= len(b) || b[0] != '1' || b[10] != '.' && n != 13 {
		return t, false, 0, false
	}
	t, ok = parseEpoch(b[:n])
	return t, true, n, ok
}

// parseClock reads `14:50:09` at the start of b and gives the seconds since midnight.
func parseClock(b []byte) (secs int, ok bool) {
	if len(b) < 8 || b[2] != ':' || b[5] != ':' {
		return 0, false
	}
	h, m, s := digits(b[0:2]), digits(b[3:5]), digits(b[6:8])
	if h < 0 || h > 23 || m < 0 || m > 59 || s < 0 || s > 59 {
		return 0, false
	}
	return h*3600 + m*60 + s, true
}

// parseFraction reads `.970` or `,970`; n is 0 when there is none.
func parseFraction(b []byte) (ns, n int) {
	if len(b) < 2 || (b[0] != '.' && b[0] != ',') {
		return 0, 0
	}
	scale := 100_000_000
	for n = 1; n < len(b) && '0' <= b[n] && b[n] <= '9'; n++ {
		ns += int(b[n]-'0') * scale
		scale /= 10
	}
	if n == 1 {
		return 0, 0
	}
	return ns, n
}

// parseZone reads `Z`, `+02:00`, `-0700`, ` UTC` or ` +0000 UTC` and gives the offset in seconds; n is 0 when no zone is named. `Z+00:00` is
// what consul-dataplane has Envoy print (`--log-format %Y-%m-%dT%T.%eZ%z …`).
func parseZone(b []byte) (off, n int) {
	if len(b) == 0 {
		return 0, 0
	}
	switch b[0] {
	case 'Z', 'z':
		off, n = parseOffset(b[1:])
		return off, n + 1
	case '+', '-':
		return parseOffset(b)
	case ' ':
		// A blank and a zone is how Go and PostgreSQL print; what follows must not be a word of the message.
		if off, n = parseOffset(b[1:]); n > 0 {
			n++
		}
		if r := b[n:]; len(r) >= 4 && (string(r[:4]) == " UTC" || string(r[:4]) == " GMT") {
			n += 4
		}
		if n < len(b) && b[n] != ' ' && b[n] != ']' && b[n] != '\t' {
			return 0, 0
		}
	}
	return off, n
}

// parseOffset reads `+02:00`, `+0200`; time zones reach from -12:00 to +14:00, all that is below a day is taken.
func parseOffset(b []byte) (off, n int) {
	if len(b) < 5 || (b[0] != '+' && b[0] != '-') {
		return 0, 0
	}
	h, m := digits(b[1:3]), 0
	if b[3] == ':' {
		if len(b) < 6 {
			return 0, 0
		}
		m, n = digits(b[4:6]), 6
	} else {
		m, n = digits(b[3:5]), 5
	}
	if h < 0 || h > 23 || m < 0 || m > 59 {
		return 0, 0
	}
	off = h*3600 + m*60
	if b[0] == '-' {
		off = -off
	}
	return off, n
}

// digits reads a decimal number of up to nine digits, -1 when there are more or one of the bytes is no digit. Empty is 0.
func digits(b []byte) int {
	if len(b) > 9 {
		return -1
	}
	v := 0
	for _, c := range b {
		if c < '0' || c > '9' {
			return -1
		}
		v = v*10 + int(c-'0')
	}
	return v
}

// daysIn is the number of days of a month.
func daysIn(y, m int) int {
	switch m {
	case 4, 6, 9, 11:
		return 30
	case 2:
		if y%4 == 0 && (y%100 != 0 || y%400 == 0) {
			return 29
		}
		return 28
	}
	return 31
}

// daysFromCivil counts days from 1970-01-01 in the proleptic Gregorian calendar (the algorithm of Howard Hinnant's date paper).
func daysFromCivil(y, m, d int) int64 {
	if m <= 2 {
		y--
	}
	era := y / 400
	if y < 0 {
		era = (y - 399) / 400
	}
	yoe := y - era*400
	mp := (m + 9) % 12
	doy := (153*mp+2)/5 + d - 1
	doe := yoe*365 + yoe/4 - yoe/100 + doy
	return int64(era)*146097 + int64(doe) - 719468
}

const months = "JanFebMarAprMayJunJulAugSepOctNovDec"

// parseMonth reads the English abbreviation of a month.
func parseMonth(b []byte) int {
	if len(b) < 3 {
		return 0
	}
	for i := 0; i < len(months); i += 3 {
		if months[i] == b[0] && months[i+1] == b[1] && months[i+2] == b[2] {
			return i/3 + 1
		}
	}
	return 0
}

// parseYearless reads the times that name no year: `Nov 22 14:50:09` of syslog and journald, also with a fraction, and `1122
// 14:50:09.970123` of klog. The time comes back in the year 0, see [Input.inYear].
func parseYearless(b []byte) (t time.Time, n int, ok bool) {
	if len(b) < 13 {
		return
	}
	m, d, rest := 0, 0, b
	if '0' <= b[0] && b[0] <= '9' {
		m, d, rest = digits(b[:2]), digits(b[2:4]), b[4:]
	} else {
		m = parseMonth(b)
		if m == 0 || b[3] != ' ' {
			return
		}
		d, rest = digits(bytes.TrimLeft(b[4:6], " ")), b[6:]
	}
	if rest[0] != ' ' {
		return
	}
	secs, ok := parseClock(rest[1:])
	if !ok || m < 1 || m > 12 || d < 1 || d > daysIn(0, m) {
		return t, 0, false
	}
	ns, k := parseFraction(rest[9:])
	return time.Unix(daysFromCivil(0, m, d)*86400+int64(secs), int64(ns)).UTC(), len(b) - len(rest) + 9 + k, true
}

// parseCommonTime reads the time of the common log format, `22/Nov/2026:14:50:09 +0000`, also with a blank before the hour.
func parseCommonTime(b []byte) (t time.Time, zoned bool, n int, ok bool) {
	if len(b) < 20 || b[2] != '/' || b[6] != '/' || (b[11] != ':' && b[11] != ' ') {
		return
	}
	d, m, y := digits(b[:2]), parseMonth(b[3:]), digits(b[7:11])
	secs, ok := parseClock(b[12:])
	if !ok || y < 0 || m == 0 || d < 1 || d > daysIn(y, m) {
		return t, false, 0, false
	}
	off, z := parseZone(b[20:])
	return time.Unix(daysFromCivil(y, m, d)*86400+int64(secs-off), 0).UTC(), z > 0, 20 + z, true
}

// parseViewerTime reads what Kibana shows, `Nov 22, 2026 @ 14:50:09.970`: in the zone of the browser, which it does not name.
func parseViewerTime(b []byte) (t time.Time, n int, ok bool) {
	m, comma := parseMonth(b), bytes.IndexByte(b[:min(len(b), 7)], ',')
	if m == 0 || comma < 5 || len(b) < comma+17 || string(b[comma+6:comma+9]) != " @ " {
		return
	}
	y, d := digits(b[comma+2:comma+6]), digits(b[4:comma])
	secs, ok := parseClock(b[comma+9:])
	if !ok || y < 0 || d < 1 || d > daysIn(y, m) {
		return t, 0, false
	}
	ns, k := parseFraction(b[comma+17:])
	return time.Unix(daysFromCivil(y, m, d)*86400+int64(secs), int64(ns)).UTC(), comma + 17 + k, true
}

// parseEpoch reads the number that JSON loggers put for a time: seconds with a fraction, or whole milli-, micro- or nanoseconds.
func parseEpoch(b []byte) (t time.Time, ok bool) {
	whole, frac, _ := bytes.Cut(b, []byte{'.'})
	if len(whole) < 9 || len(whole) > 19 {
		return
	}
	var v int64
	for _, c := range whole {
		if c < '0' || c > '9' {
			return t, false
		}
		v = v*10 + int64(c-'0')
	}
	switch {
	case v < 0:
		return t, false
	case len(whole) <= 11:
		ns, _ := parseFraction(append([]byte{'.'}, frac...))
		return time.Unix(v, int64(ns)).UTC(), true
	case len(whole) <= 14:
		return time.UnixMilli(v).UTC(), true
	case len(whole) <= 17:
		return time.UnixMicro(v).UTC(), true
	}
	return time.Unix(0, v).UTC(), true
}
