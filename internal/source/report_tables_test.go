package source

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"spoor/internal/intel"
	"spoor/internal/realdata"
)

// TestESETReports reads the reports of ESET's campaigns and compares what they tell with an independent count of the same files.
func TestESETReports(t *testing.T) {
	readmes, err := filepath.Glob(filepath.Join(realdata.Path(t, "feeds", "eset-malware-ioc"), "*", "README.adoc"))
	if err != nil {
		t.Fatal(err)
	}
	type told struct{ names, detections, reports map[string]bool }
	files := map[intel.Hash]*told{}
	for _, path := range readmes {
		text, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		k, _ := read(t, text, Options{Feed: "ESET", Now: testNow})
		text.Close()
		for _, o := range k.observations {
			for _, a := range []intel.Algorithm{intel.MD5, intel.SHA1, intel.SHA256} {
				h := o.File.Get(a)
				if h.IsZero() {
					continue
				}
				f := files[h]
				if f == nil {
					f = &told{map[string]bool{}, map[string]bool{}, map[string]bool{}}
					files[h] = f
				}
				switch fact := o.Fact.(type) {
				case intel.Attribute:
					f.names[fact.Value] = true
				case intel.Detection:
					f.detections[fact.Method+": "+fact.Name] = true
				case intel.Publication:
					f.reports[fact.Title+" "+fact.URL] = true
				}
			}
		}
	}
	type counts struct{ Files, Named, Names, Detections, Reported int }
	var got counts
	for _, f := range files {
		got.Files++
		got.Names += len(f.names)
		got.Detections += len(f.detections)
		if len(f.names) > 0 {
			got.Named++
		}
		if len(f.reports) > 0 {
			got.Reported++
		}
	}
	if diff := cmp.Diff(counts{2936, 551, 553, 835, 2719}, got); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	for _, c := range []struct{ hash, name, detection, report string }{
		{"7a3fc280f79578414d71d70609fbdb49ec6ad648", "default_ico.exe", "ESET: Win32/Agent.AGFQ", "Evasive Panda leverages Monlam Festival to target Tibetans https://www.welivesecurity.com/en/eset-research/evasive-panda-leverages-monlam-festival-target-tibetans/"},
		{"0f0259f288141edbe4ab2b8032911c69e03817d2", "com.kamran.hunzanews", "ESET: Android/Spy.Kamran.A", "Unlucky Kamran: Android malware spying on Urdu-speaking residents of Gilgit Baltistan -- Indicators of Compromise https://www.welivesecurity.com/en/eset-research/unlucky-kamran-android-malware-spying-urdu-speaking-residents-gilgit-baltistan/"},
		{"439a5f553e4ee15edca1cfb77b96b02c77c5c388", "cache.py", "ESET: Python/Agent.AGL", "A pernicious potpourri of Python packages in PyPI –- Indicators of Compromise https://www.welivesecurity.com/en/eset-research/pernicious-potpourri-python-packages-pypi/"},
		{"d3df3f32716042404798e3e9d691aced2f78bdd5", "", "ESET: Win32/Turla.BZ", "Turla PowerShell Indicators of Compromise https://www.welivesecurity.com/2019/05/29/turla-powershell-usage/"},
	} {
		h, err := intel.ParseHash(c.hash)
		if err != nil {
			t.Fatal(err)
		}
		f := files[h]
		if f == nil || c.name != "" && !f.names[c.name] || !f.detections[c.detection] || !f.reports[c.report] {
			t.Errorf("%s: %v", c.hash, f)
		}
	}
	for _, none := range []string{"77dbcdface92513590b7c3a407be2717c19094e0", "9ef725ba7881049e72f7a92c924403b0"} { // a certificate's thumbprint, a key
		h, _ := intel.ParseHash(none)
		if files[h] != nil {
			t.Errorf("%s is no file's hash", none)
		}
	}
}
