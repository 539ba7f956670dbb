package elastic

import (
	"strings"

	"github.com/wasmortem/wasmortem/ingest/index"
)

const (
	termsField = "wasmortem.terms"
	typeField  = "wasmortem.type"
	inputField = "wasmortem.input"

	// maxClauses is how many conditions go into one question. A server allows 1,024 or more (indices.query.bool.max_clause_count).
	maxClauses = 900
	// maxRegexp is how long a regular expression may be (index.max_regex_length).
	maxRegexp = 900
)

type object = map[string]any

// questions translates an expression. Its hits are those of all questions together: a long list of alternatives is asked in parts.
func questions(e index.Expr) []any {
	var out []any
	for _, part := range split(simplify(e)) {
		out = append(out, object{"bool": object{"filter": []any{object{"term": object{typeField: "stretch"}}, query(part)}}})
	}
	return out
}

// simplify joins alternatives of alternatives, and leaves out of a conjunction what is dear to ask and adds little: what ends so, or has this in it,
// beside a word of some length. Who asks accepts more documents where there is a [index.Pattern].
func simplify(e index.Expr) index.Expr {
	switch e := e.(type) {
	case index.And:
		out := make(index.And, len(e))
		selective := false
		for i := range e {
			out[i] = simplify(e[i])
			selective = selective || isSelective(out[i])
		}
		if !selective {
			return out
		}
		kept := out[:0]
		for _, x := range out {
			if !isDear(x) {
				kept = append(kept, x)
			}
		}
		return kept
	case index.Or:
		var out index.Or
		for _, x := range e {
			x = simplify(x)
			if list, ok := x.(index.Or); ok {
				out = append(out, list...)
			} else {
				out = append(out, x)
			}
		}
		return out
	case index.Pattern:
		if e.Prefix+e.Suffix+e.Infix == "" { // only Match, which the server cannot ask
			return index.All{}
		}
	}
	return e
}

func isSelective(e index.Expr) bool {
	switch e := e.(type) {
	case index.Term:
		return len(e.Text) > 4
	case index.Pattern:
		return len(e.Prefix) > 4
	case index.Or:
		for _, x := range e {
			if !isSelective(x) {
				return false
			}
		}
		return len(e) > 0
	}
	return false
}

// isDear reports whether the whole dictionary has to be looked through.
func isDear(e index.Expr) bool {
	switch e := e.(type) {
	case index.Pattern:
		return e.Prefix == ""
	case index.Or:
		for _, x := range e {
			if isDear(x) {
				return true
			}
		}
	}
	return false
}

// split cuts a list of alternatives into parts that are short enough.
func split(e index.Expr) []index.Expr {
	if size(e) <= maxClauses {
		return []index.Expr{e}
	}
	switch e := e.(type) {
	case index.Or:
		var out []index.Expr
		var part index.Or
		n := 0
		for _, x := range e {
			k := size(x)
			if n+k > maxClauses && len(part) > 0 {
				out, part, n = append(out, part), nil, 0
			}
			part, n = append(part, x), n+k
		}
		return append(out, part)
	case index.And:
		longest := 0
		for i := range e {
			if size(e[i]) > size(e[longest]) {
				longest = i
			}
		}
		var out []index.Expr
		for _, part := range split(e[longest]) {
			whole := append(index.And{}, e...)
			whole[longest] = part
			out = append(out, whole)
		}
		return out
	}
	return []index.Expr{e}
}

func size(e index.Expr) int {
	n := 1
	switch e := e.(type) {
	case index.And:
		for _, x := range e {
			n += size(x)
		}
	case index.Or:
		for _, x := range e {
			n += size(x)
		}
	}
	return n
}

// query translates an expression.
func query(e index.Expr) any {
	switch e := e.(type) {
	case index.Term:
		return object{"term": object{termsField: term(e.Field, e.Text)}}
	case index.Pattern:
		return pattern(e)
	case index.Within:
		return within(e)
	case index.And:
		list := make([]any, len(e))
		for i, x := range e {
			list[i] = query(x)
		}
		return object{"bool": object{"filter": list}}
	case index.Or:
		return alternatives(e)
	}
	return object{"match_all": object{}}
}

// alternatives asks for all single terms in one clause, and for all that stands inside words in one look through the dictionary.
func alternatives(e index.Or) any {
	if len(e) == 0 {
		return object{"match_none": object{}}
	}
	var list []any
	var terms []string
	inside := map[string][]string{} // by field
	for _, x := range e {
		switch x := x.(type) {
		case index.Term:
			terms = append(terms, term(x.Field, x.Text))
			continue
		case index.Pattern:
			if x.Prefix == "" && x.Infix != "" && x.Suffix == "" {
				inside[x.Field] = append(inside[x.Field], quote(latin(x.Infix))+".*")
				continue
			}
			if x.Prefix == "" && x.Infix == "" && x.Suffix != "" {
				inside[x.Field] = append(inside[x.Field], quote(latin(x.Suffix)))
				continue
			}
		}
		list = append(list, query(x))
	}
	if len(terms) > 0 {
		list = append(list, object{"terms": object{termsField: terms}})
	}
	for field, parts := range inside {
		for len(parts) > 0 {
			n, size := 0, 0
			for n < len(parts) && (n == 0 || size+len(parts[n]) < maxRegexp && n < 24) {
				size += len(parts[n]) + 1
				n++
			}
			list = append(list, regexp(quote(field)+"=.*("+strings.Join(parts[:n], "|")+")"))
			parts = parts[n:]
		}
	}
	return object{"bool": object{"should": list, "minimum_should_match": 1}}
}

func regexp(value string) any {
	return object{"regexp": object{termsField: object{"value": value, "flags": "NONE", "max_determinized_states": 100_000}}}
}

// pattern asks for words that begin, end, and have something in them. Match stays out: the server knows no Go.
func pattern(p index.Pattern) any {
	if len(p.Prefix)+len(p.Suffix)+len(p.Infix) > maxRegexp/2 {
		p.Prefix, p.Suffix, p.Infix = p.Prefix[:min(len(p.Prefix), 64)], "", ""
	}
	prefix := term(p.Field, p.Prefix)
	if p.Suffix == "" && p.Infix == "" {
		return object{"prefix": object{termsField: prefix}}
	}
	if len(p.Infix) > 0 && p.Prefix+p.Suffix != "" {
		p.Infix = "" // it may overlap what the word begins or ends with
	}
	if p.Prefix != "" && p.Suffix != "" {
		return object{"bool": object{"filter": []any{object{"prefix": object{termsField: prefix}}, regexp(quote(latin(p.Field)) + "=.*" + quote(latin(p.Suffix)))}}}
	}
	end := quote(latin(p.Suffix))
	if p.Infix != "" {
		end = quote(latin(p.Infix)) + ".*"
	}
	return regexp(quote(prefix) + ".*" + end)
}

// quote takes their meaning from all signs that Lucene's regular expressions give one.
func quote(s string) string {
	var sb strings.Builder
	for _, r := range s {
		if r < 0x80 && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z') && r != '_' {
			sb.WriteByte('\\')
		}
		sb.WriteRune(r)
	}
	return sb.String()
}

// within asks for stretches that tell a time, do not end before Since or begin after Until; whole seconds are looked at.
func within(w index.Within) any {
	from := object{}
	until := object{}
	if !w.Until.IsZero() {
		from["lte"] = w.Until.Unix()
	}
	if !w.Since.IsZero() {
		until["gte"] = w.Since.Unix()
	}
	var list []any
	if len(from) > 0 {
		list = append(list, object{"range": object{"wasmortem.from": from}})
	}
	if len(until) > 0 {
		list = append(list, object{"range": object{"wasmortem.until": until}})
	}
	if len(list) == 0 {
		list = append(list, object{"exists": object{"field": "wasmortem.from"}})
	}
	return object{"bool": object{"filter": list}}
}
