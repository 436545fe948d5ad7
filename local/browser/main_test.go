package browser

import (
	"testing"

	"wechat-phone/local/rig"
)

func TestMain(m *testing.M) { rig.Main(m) }
