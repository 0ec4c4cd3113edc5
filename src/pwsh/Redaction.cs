using System;
using System.Collections.Generic;
using System.Globalization;
using System.Linq;
using System.Text;

namespace SecretBridge;

/// <summary>
/// Texts of secrets, starred out of what goes to a log, a fault or a page: the values, their lines, and both in base64.
/// Whole values only, by the rule of src/redact.rs: a short password that is masked inside a sentence is given away by it.
/// fixtures/redaction.json has the cases for both.
/// </summary>
public static class Redaction
{
    /// <summary>Shorter ones are in every message.</summary>
    private const int Shortest = 3;

    /// <summary>From this length on a value is itself wherever it stands.</summary>
    private const int Anywhere = 16;

    /// <summary>From this length on a value is itself where no letter or digit stands beside it.</summary>
    private const int AsAWord = 8;

    private const int MessageLength = 4000;

    private const string Enclosing = "'\"`‘’“”«»()[]{}<>=";

    /// <summary>Texts that the present request has read or written.</summary>
    public static HashSet<string> Seen { get; } = new(StringComparer.Ordinal);

    /// <summary>Keeps a text for as long as the request lasts.</summary>
    public static void Add(string text)
    {
        if (text.Length > 0)
        {
            Seen.Add(text);
        }
    }

    /// <summary>A text without the request's secrets and these.</summary>
    public static string Hide(string? text, IEnumerable<string>? secrets = null)
    {
        text ??= "";
        if (text.Length == 0 || (Seen.Count == 0 && secrets is null))
        {
            return text;
        }
        // The longest first: a short one may be a part of it, and would leave the rest to be read.
        IEnumerable<string> forms = Seen.Concat(secrets ?? []).SelectMany(Forms).Distinct(StringComparer.Ordinal);
        foreach (string form in forms.OrderByDescending(form => form.Length).ThenBy(form => form, StringComparer.Ordinal))
        {
            text = Without(text, form);
        }
        return text;
    }

    /// <summary>The same, cut to what a message may be.</summary>
    public static string Message(string? text, IEnumerable<string>? secrets = null)
    {
        text = Hide(text, secrets);
        return text.Length > MessageLength ? text[..MessageLength] : text;
    }

    private static IEnumerable<string> Forms(string value)
    {
        IEnumerable<string> lines = value.Split('\n').Select(line => line.Trim()).Where(line => Encoding.UTF8.GetByteCount(line) >= AsAWord);
        foreach (string text in lines.Prepend(value))
        {
            foreach (string form in (string[])[text, .. Coded(Encoding.UTF8.GetBytes(text)), .. Coded(Encoding.Unicode.GetBytes(text))])
            {
                if (Length(form) >= Shortest)
                {
                    yield return form;
                }
            }
        }
    }

    // Padding stands behind it, or does not.
    private static string[] Coded(byte[] bytes)
    {
        string coded = Convert.ToBase64String(bytes).TrimEnd('=');
        return [coded, coded.Replace('+', '-').Replace('/', '_')];
    }

    private static string Without(string text, string form)
    {
        int at = text.IndexOf(form, StringComparison.Ordinal);
        if (at < 0)
        {
            return text;
        }
        StringBuilder hidden = new(text.Length);
        int rest = 0;
        for (; at >= 0; at = text.IndexOf(form, at + form.Length, StringComparison.Ordinal))
        {
            if (IsWhole(text.AsSpan(0, at), form, text.AsSpan(at + form.Length)))
            {
                hidden.Append(text, rest, at - rest).Append("***");
                rest = at + form.Length;
            }
        }
        return hidden.Append(text, rest, text.Length - rest).ToString();
    }

    private static bool IsWhole(ReadOnlySpan<char> before, string form, ReadOnlySpan<char> after)
    {
        int length = Length(form);
        if (length >= Anywhere)
        {
            return true;
        }
        if (length >= AsAWord)
        {
            _ = Rune.DecodeLastFromUtf16(before, out Rune last, out _);
            _ = Rune.DecodeFromUtf16(after, out Rune next, out _);
            return (before.IsEmpty || !IsAlphanumeric(last)) && (after.IsEmpty || !IsAlphanumeric(next));
        }
        return (before.IsEmpty || Enclosing.Contains(before[^1])) && (after.IsEmpty || Enclosing.Contains(after[0]) || ",;.&".Contains(after[0]));
    }

    private static bool IsAlphanumeric(Rune rune) =>
        Rune.IsLetterOrDigit(rune) || Rune.GetUnicodeCategory(rune) is UnicodeCategory.LetterNumber or UnicodeCategory.OtherNumber;

    /// <summary>In characters: what lies outside the first plane is one.</summary>
    private static int Length(string text)
    {
        int length = 0;
        foreach (Rune _ in text.EnumerateRunes())
        {
            length++;
        }
        return length;
    }
}
