// Package difftest answers "do other parsers see what ours see?" It holds
// internal/jose against go-jose and internal/strictjson against encoding/json/v2
// (as go-json-experiment has it for the older of the supported releases of Go), by
// fuzz targets whose seeds run with the tests.
//
// It is a module of its own so that programs which import the middleware do not
// get these parsers into their module graph. Its path is below the middleware's, so it
// may import internal packages.
package difftest
