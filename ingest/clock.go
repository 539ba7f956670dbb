package ingest

import "time"

// parseTime reads a timestamp at the start of b, in any of the forms that proxies, agents and log viewers print:
// `2026-11-22 14:50:09.970`, `2026-11-22T14:50:09.970123Z`, `…+02:00`, `2026/11/22 14:50:09`. The fraction may have up to nine
// digits after `.` or `,`. zoned is false when no zone was named, and then UTC is assumed; n is how many bytes were read.
//
// It is written by hand because it runs on every candidate line: time.Parse needs the layout first and ten times as long.
func parseTime(b []byte) (t time.Time, zoned bool, n int, ok bool) {
	if len(b) < 19 || b[0] < '0' || b[0] > '9' {
		return
	}
	sep := b[4]
	if (sep != '-' && sep != '/') || b[7] != sep || (b[10] != ' ' && b[10] != 'T' && b[10] != '_') || b[13] != ':' || b[16] != ':' {
		return
	}
	y, m, d := digits(b[0:4]), digits(b[5:7]), digits(b[8:10])
	h, mi, s := digits(b[11:13]), digits(b[14:16]), digits(b[17:19])
	if y < 0 || m < 1 || m > 12 || d < 1 || d > 31 || h < 0 || h > 23 || mi < 0 || mi > 59 || s < 0 || s > 60 {
		return
	}
	n = 19
	ns := 0
	if n < len(b) && (b[n] == '.' || b[n] == ',') {
		i, scale := n+1, 100_000_000
		for i < len(b) && '0' <= b[i] && b[i] <= '9' {
			ns += int(b[i]-'0') * scale
			scale /= 10
			i++
		}
		if i > n+1 {
			n = i
		}
	}
	off := 0
	switch {
	case n < len(b) && (b[n] == 'Z' || b[n] == 'z'):
		zoned, n = true, n+1
	case n+5 < len(b) && (b[n] == '+' || b[n] == '-') && b[n+3] == ':':
		if oh, om := digits(b[n+1:n+3]), digits(b[n+4:n+6]); oh >= 0 && om >= 0 {
			off, zoned = oh*3600+om*60, true
			if b[n] == '-' {
				off = -off
			}
			n += 6
		}
	case n+4 < len(b) && (b[n] == '+' || b[n] == '-'):
		if z := digits(b[n+1 : n+5]); z >= 0 {
			off, zoned = z/100*3600+z%100*60, true
			if b[n] == '-' {
				off = -off
			}
			n += 5
		}
	}
	sec := daysFromCivil(y, m, d)*86400 + int64(h*3600+mi*60+s-off)
	return time.Unix(sec, int64(ns)).UTC(), zoned, n, true
}

// digits reads a fixed-width decimal number, -1 when one of the bytes is no digit.
func digits(b []byte) int {
	v := 0
	for _, c := range b {
		if c < '0' || c > '9' {
			return -1
		}
		v = v*10 + int(c-'0')
	}
	return v
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

var months = [...]string{"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"}

// parseSyslogTime reads `Nov 22 14:50:09`, which names no year: the time is told only when the caller knows one.
func parseSyslogTime(b []byte) (month, day, secs, n int, ok bool) {
	if len(b) < 15 || b[3] != ' ' || b[6] != ' ' || b[9] != ':' || b[12] != ':' {
		return
	}
	for i, w := range months {
		if string(b[:3]) == w {
			month = i + 1
		}
	}
	day = digits(b[5:6])
	if b[4] != ' ' {
		day = digits(b[4:6])
	}
	h, m, s := digits(b[7:9]), digits(b[10:12]), digits(b[13:15])
	if month == 0 || day < 1 || day > 31 || h < 0 || h > 23 || m < 0 || m > 59 || s < 0 || s > 60 {
		return 0, 0, 0, 0, false
	}
	return month, day, h*3600 + m*60 + s, 15, true
}
