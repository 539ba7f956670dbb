package elastic

import "context"

// Candidates counts, for each literal, the documents that would travel for it alone. Blocks has been read before.
func (k *Corpus) Candidates(ctx context.Context, literals [][]byte) ([]int64, error) {
	list := make([]int64, len(literals))
	for i, l := range literals {
		var out struct {
			Hits struct{ Total struct{ Value int64 } }
		}
		query := k.where(k.f.message.query([][]byte{l}, always))
		if err := k.c.Search(ctx, object{"size": 0, "track_total_hits": true, "query": query}, &out, k.pattern); err != nil {
			return nil, err
		}
		list[i] = out.Hits.Total.Value
	}
	return list, nil
}
