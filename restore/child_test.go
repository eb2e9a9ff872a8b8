package restore

const childTarget = "BLUESKY_RESTORE_CHILD"

func childMain(string) int { return 0 }
