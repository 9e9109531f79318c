package plan

// Restrict returns what fresh removes and a person has approved: a plan made a while ago allows nothing that is not also decided
// now. dropped counts the (image, node) pairs that approved removes and the result does not; the result says why.
func Restrict(fresh, approved *Plan) (restricted *Plan, dropped int) {
	type pair struct{ id, node string }
	allowed := map[pair]bool{}
	for i := range approved.Images {
		img := &approved.Images[i]
		for _, c := range img.Copies {
			if c.Decision == Remove {
				allowed[pair{img.ID, approved.Nodes[c.Node].Name}] = true
			}
		}
	}
	restricted = &Plan{Policy: fresh.Policy, Nodes: append([]Node(nil), fresh.Nodes...), Images: make([]Image, len(fresh.Images))}
	dropped = len(allowed)
	for i := range fresh.Images {
		img := fresh.Images[i]
		img.Copies = append([]Copy(nil), img.Copies...)
		for j := range img.Copies {
			c := &img.Copies[j]
			switch {
			case c.Decision != Remove:
			case allowed[pair{img.ID, fresh.Nodes[c.Node].Name}]:
				dropped--
			default:
				c.Decision = Keep
				c.Reasons = []Reason{{Code: NotSelected, Message: "it was not in the plan that was approved"}}
				restricted.Nodes[c.Node].ReclaimableBytes -= img.SizeBytes
			}
		}
		restricted.Images[i] = img
	}
	return restricted, dropped
}
