package authority

import (
	"context"
	"slices"
)

// Adopt makes the files below stage, which somebody restored, the authority of
// the data folder dir. It is interrupted nowhere: what a crash leaves is
// completed by the next Init or Adopt, or was never begun. A folder that holds
// an authority is left alone, with an Error of CodeExists.
func Adopt(_ context.Context, dir, stage string) error {
	m := maker{InitOptions: InitOptions{Dir: dir}, stage: stage}
	state, err := prepare(dir, slices.Concat(pieces, brought))
	if err != nil {
		return err
	}
	if err := syncTree(stage); err != nil {
		return err
	}
	return m.commit(state)
}
